"""A real server in a process of its own, and the people who use it.

Its settings are the environment, its database is SQLite below a directory of the test's. People are put into
that database from here while the server runs, each test with a tenant of its own, so that tests share a server
and nothing else. Clients are beside: ``sockets`` and ``streams``.
"""

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import jwt

from tests.support import tables
from tests.support.installed import TIDINGS
from tests.support.processes import Child, running, wait_until
from tidings.domain.ids import new_id
from tidings.domain.people import Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.identity.tokens import issue
from tidings.store import tenants, users
from tidings.store.database import Database

SECRET = "correct-horse-battery-staple-0123456789"
PAGE = "http://localhost:3000"
"""An origin that is allowed outside production."""

_LISTENING = r'"url":"http://127\.0\.0\.1:(\d+)","event":"listening"'
_SECONDS = 10.0
_SETTINGS: Mapping[str, object] = {
    "env": "test",
    "jwt_secret": SECRET,
    "drain_seconds": 0,
    "job_concurrency": 2,  # as many processes are started for jobs, for one test often
}


@dataclass(frozen=True, slots=True)
class Person:
    """A user, with a token that is good for an hour."""

    id: UserId
    tenant_id: TenantId
    role: Role
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


class Server:
    """A server that listens. ``folder`` holds its database, unless it is given another one."""

    def __init__(self, child: Child, port: int, folder: Path, database: str | None = None) -> None:
        self.child = child
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.database = database or f"sqlite:///{folder / 'tidings.db'}"
        self._folder = folder

    async def people(self, *roles: Role, of: TenantId | None = None) -> list[Person]:
        """A new user of each role, in a new tenant unless one is named."""
        now = datetime.now(UTC)
        async with Database(self.database) as database, database.write() as tx:
            tenant_id = of
            if tenant_id is None:
                slug = new_id()
                tenant_id = TenantId(slug)
                await tenants.insert(tx, Tenant(tenant_id, slug, "Acme", TenantStatus.ACTIVE, now))
            made = []
            for role in roles:
                user_id = UserId(new_id())
                email = f"{user_id}@acme.example"
                assert await users.insert(tx, User(user_id, tenant_id, email, None, role, True, now))
                made.append(Person(user_id, tenant_id, role, token_for(user_id)))
        return made

    async def person(self, role: Role = Role.USER, of: TenantId | None = None) -> Person:
        (made,) = await self.people(role, of=of)
        return made

    def http(self, person: Person | None = None, **headers: str) -> httpx.AsyncClient:
        """A client for requests of that person; to be used as an async context."""
        given = {**(person.headers if person is not None else {}), **headers}
        # There is no TLS here, and reading the system's certificates for it would take longer than a request.
        return httpx.AsyncClient(
            base_url=self.url, headers=given, trust_env=False, verify=False, timeout=_SECONDS
        )

    def get(self, path: str, **headers: str) -> httpx.Response:
        """One request of nobody."""
        return httpx.get(self.url + path, headers=headers, trust_env=False, verify=False, timeout=_SECONDS)

    def security(self, event: str, **fields: str) -> list[dict[str, Any]]:
        """Lines of the security log so far, with that event and those fields."""
        found = []
        for line in self.child.output.splitlines():
            if '"logger":"security"' in line and f'"{event}"' in line:
                entry: dict[str, Any] = json.loads(line)
                if all(entry.get(name) == value for name, value in fields.items()):
                    found.append(entry)
        return found

    async def audited(self, event: str, **fields: str) -> dict[str, Any]:
        """The first such line, waited for if need be."""
        await eventually(lambda: bool(self.security(event, **fields)))
        return self.security(event, **fields)[0]

    def gauge(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = re.findall(rf"^{name}(?:\{{.*\}})? (\S+)$", self.get("/metrics").text, re.MULTILINE)
        return sum(map(float, lines))

    async def at_rest(self, descriptors: int) -> None:
        """Wait until no connection and no stream is open, and no more descriptors than that are."""
        gauges = ("tidings_streams_active", "tidings_connections_active", "tidings_outbox_bytes")
        await eventually(lambda: not any(map(self.gauge, gauges)) and self.descriptors() <= descriptors)

    def descriptors(self) -> int:
        """Open file descriptors of the process, but for the database's, which are opened as they are needed."""
        links = Path(f"/proc/{self.child.pid}/fd").iterdir()
        return sum(not _target(link).startswith(str(self._folder)) for link in links)


@contextmanager
def serving(folder: Path, settings: Mapping[str, object] | None = None, *, port: int = 0) -> Iterator[Server]:
    """A server on the database below ``folder``; ``settings`` without their prefix, in lower case."""
    given = {**_SETTINGS, "var": folder, **(settings or {})}
    env = {f"TIDINGS_{name.upper()}": str(value) for name, value in given.items()}
    paths = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    url = given.get("database_url")
    if url is None:
        tables.lay_file(folder / "tidings.db")
    with running([TIDINGS, "serve", "--port", str(port)], env={**paths, **env}, cwd=folder) as child:
        listening = int(child.wait_for_output(_LISTENING)[1])
        yield Server(child, listening, folder, None if url is None else str(url))


def _target(link: Path) -> str:
    """Where a descriptor leads; nowhere if it was closed meanwhile."""
    try:
        return str(link.readlink())
    except FileNotFoundError:
        return ""


def token_for(user_id: UserId, *, ttl: int = 3600) -> str:
    return issue(SECRET, user_id, ttl=ttl, now=time.time(), jti=new_id())


def forged(claims: Mapping[str, object], *, secret: str = SECRET, algorithm: str = "HS256") -> str:
    """A token that says whatever a test wants it to."""
    return jwt.encode(dict(claims), secret, algorithm)


async def eventually(condition: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """``wait_until`` for tests with an event loop that has to go on."""
    await asyncio.to_thread(wait_until, condition, seconds)
