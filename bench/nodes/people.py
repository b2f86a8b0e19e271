"""Tenants of the benchmark's own, and what their users ask of a node over REST."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from bench.harness.process import BenchmarkError
from bench.harness.tidings_server import SECRET
from tidings.domain.ids import new_id
from tidings.domain.people import Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.identity.tokens import issue
from tidings.store import tenants, users
from tidings.store.database import Database

END = "end"
"""The title of what comes last."""

_AT_ONCE = 16
_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class People:
    """A tenant's tokens, good for an hour: its administrator's, and one for each of its users."""

    administrator: str
    users: tuple[str, ...]


async def settle(database_url: str, tenant: TenantId, count: int) -> People:
    """A new tenant of that id with so many users, in a database that a node has made ready."""
    now = datetime.now(UTC)
    async with Database(database_url) as database, database.write() as tx:
        await tenants.insert(tx, Tenant(tenant, tenant, "Bench", TenantStatus.ACTIVE, now))
        made = []
        for role in (Role.ADMIN, *[Role.USER] * count):
            user_id = UserId(new_id())
            email = f"{user_id}@bench.example"
            await users.insert(tx, User(user_id, tenant, email, None, role, active=True, created_at=now))
            made.append(issue(SECRET, user_id, ttl=3600, now=time.time(), jti=new_id()))
    return People(made[0], tuple(made[1:]))


async def notify_each(port: int, tokens: Sequence[str]) -> list[str]:
    """For each token its user posts a notification for themself, a few at once: the ids, in the same order.

    Raises:
        BenchmarkError: one was not accepted.
    """
    ids = [""] * len(tokens)
    waiting = iter(enumerate(tokens))

    async def post(client: httpx.AsyncClient) -> None:
        for index, token in waiting:
            ids[index] = await _post(client, token, {"title": "one", "content": "For me."})

    async with _http(port) as client, asyncio.TaskGroup() as tasks:
        for _ in range(_AT_ONCE):
            tasks.create_task(post(client))
    return ids


async def notify_end(port: int, people: People) -> None:
    """Tell the whole tenant that this was all, or raise BenchmarkError."""
    async with _http(port) as client:
        await _post(client, people.administrator, {"title": END, "content": "For all.", "audience": "tenant"})


def _http(port: int) -> httpx.AsyncClient:
    # There is no TLS here, and reading the system's certificates for it would take longer than a request.
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False, timeout=_SECONDS
    )


async def _post(client: httpx.AsyncClient, token: str, note: dict[str, str]) -> str:
    answer = await client.post("/notifications", json=note, headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != httpx.codes.CREATED:
        raise BenchmarkError(f"POST /notifications was answered {answer.status_code}: {answer.text}")
    return str(answer.json()["id"])
