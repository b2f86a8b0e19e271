"""Tidings, as ``tidings serve`` runs it, in the benchmarks: on the embedded default, or one node of several.

    --redis URL         one of several nodes on this Redis
    --folder PATH       where their common database is; the first to come makes it
    --database URL      another database than the one in the folder

A fresh database in a temporary folder holds one tenant with a few users; connections share them. The limits
that would stand in a benchmark's way are raised, nothing is switched off: every token is verified, the
security log is written. Emitting is publishing to the tenant's channel through the broker, the level of
``io.to(room).emit()`` in the others: no database in any of them.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

import uvloop

from bench.harness.emitter import EVENT, Payload, Publish, Serving, drive
from tidings import log
from tidings.app import Node
from tidings.broker.base import Broker
from tidings.domain.channel import tenant_channel
from tidings.domain.event import Event, EventClass
from tidings.domain.ids import new_id
from tidings.domain.people import Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.domain.strictjson import dumps
from tidings.identity.tokens import issue
from tidings.settings import Settings, load
from tidings.store import migrate, tenants, users
from tidings.store.database import Database

USERS = 64
BEYOND_REACH = 1_000_000
SECRET = "the-benchmark-is-no-secret-0123456789"


def make_settings(folder: Path, broker_url: str = "memory://", database_url: str = "") -> Settings:
    """The defaults but for a folder, a port, the limits that count one machine's clients, and a quick end."""
    return load(
        var=folder,
        port=0,
        database_url=database_url,
        broker_url=broker_url,
        jwt_secret=SECRET,
        max_connections=BEYOND_REACH,
        max_connections_per_user=BEYOND_REACH,
        max_connections_per_ip=BEYOND_REACH,
        handshake_rate=BEYOND_REACH,
        rate_limit_points=BEYOND_REACH,
        drain_seconds=0,
    )


async def seed(database_url: str) -> tuple[TenantId, tuple[str, ...]]:
    """One tenant and its users, who may be there already; a token for each of them, good for an hour."""
    now = datetime.now(UTC)
    await migrate.upgrade(database_url)
    async with Database(database_url) as database, database.write() as tx:
        tenant = await tenants.ensure(
            tx, Tenant(TenantId(new_id()), "bench", "Bench", TenantStatus.ACTIVE, now)
        )
        for number in range(USERS):
            await users.insert(tx, _user(tenant, number, now))
        people = (await users.page(tx, tenant.id, cursor=None, limit=USERS)).items
    tokens = (issue(SECRET, user.id, ttl=3600, now=time.time(), jti=new_id()) for user in people)
    return tenant.id, tuple(tokens)


def _user(tenant: Tenant, number: int, now: datetime) -> User:
    address = f"user{number}@bench.example"
    return User(UserId(new_id()), tenant.id, address, None, Role.USER, active=True, created_at=now)


def answers_apart_from_log(path: Path) -> TextIO:
    """What stdout was, for the driver; stdout itself, where the log's lines go, becomes a file."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    with path.open("wb") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
    return answers


@contextlib.contextmanager
def home(folder: str | None) -> Iterator[Path]:
    """The folder of this node: what is shared with others, or one of its own for the time."""
    if folder is not None:
        yield Path(folder)
        return
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as own:
        yield Path(own)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", default="memory://")
    parser.add_argument("--folder")
    parser.add_argument("--database", default="")
    options = parser.parse_args()
    with home(options.folder) as folder:
        answers = answers_apart_from_log(folder / f"log-{os.getpid()}.jsonl")
        settings = make_settings(folder, options.redis, options.database)
        log.configure(level=settings.log_level)
        tenant, tokens = await seed(settings.database)
        async with Node(settings) as node, asyncio.TaskGroup() as tasks:
            listening: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            tasks.create_task(node.serve(listening.set_result))
            serving = Serving(await listening, f"tidings {version('tidings')}", tokens)
            await drive(publisher(node.shared.broker, tenant), serving, answers)
            signal.raise_signal(signal.SIGTERM)


def publisher(broker: Broker, tenant: TenantId) -> Publish:
    """Publish to the channel that every connection of the tenant hears."""
    channel = tenant_channel(tenant)

    async def publish(payloads: Sequence[Payload]) -> None:
        events = [Event(EVENT, dumps(payload), EventClass.INBOX) for payload in payloads]
        await broker.publish([(channel, event) for event in events])

    return publish


if __name__ == "__main__":
    uvloop.run(main())
