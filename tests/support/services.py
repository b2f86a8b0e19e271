"""The REST surface on everything real but the socket: SQLite, the embedded broker, the relay, and people.

Two tenants: ``acme`` with ann, bob (USER) and amy (ADMIN); ``other`` with eve (USER). root (SUPER_ADMIN) is of
acme. No worker runs, so a job stays as it was left.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import httpx
from starlette.routing import BaseRoute
from starlette.types import ASGIApp

from tests.support import tables
from tests.support.store_rig import a_tenant, a_user
from tidings.api.app import build
from tidings.api.services import AdminServices, Services
from tidings.artifacts.local import LocalStorage
from tidings.broker.base import Limits
from tidings.broker.memory import MemoryBroker
from tidings.cluster.registry import seen_now
from tidings.cluster.vitals import Vitals
from tidings.delivery.administer import Administration
from tidings.delivery.admit import Admission
from tidings.delivery.audit import SecurityLog
from tidings.delivery.authenticate import Authenticator
from tidings.delivery.inbox import Inbox
from tidings.delivery.once import at_a_stroke, once
from tidings.delivery.orders import Enforce, Orders
from tidings.delivery.relay import Relay
from tidings.delivery.signals import Signals
from tidings.delivery.tickets import StoredTickets
from tidings.domain.audit import SecurityEvent
from tidings.domain.ids import new_id
from tidings.domain.people import Role, User
from tidings.identity.credentials import COOKIE_PLAIN
from tidings.identity.directory import Directory
from tidings.identity.keys import SecretKeySource
from tidings.identity.limiter import SlidingWindow
from tidings.identity.origins import Origins
from tidings.identity.peer import Peers
from tidings.identity.tokens import TokenVerifier, issue
from tidings.jobs import demo
from tidings.jobs.external import External
from tidings.jobs.kinds import Registry
from tidings.jobs.requests import Jobs
from tidings.metrics import REGISTRY
from tidings.store import tenants, users
from tidings.store.database import Database

SECRET = "correct horse battery staple, 32 bytes and more"
OWN_ORIGIN = "https://tidings.example"
PAGE_ORIGIN = "https://app.example"

_ROLES = {"ann": Role.USER, "bob": Role.USER, "amy": Role.ADMIN, "root": Role.SUPER_ADMIN}


@dataclass
class Rig:
    """A surface under test."""

    app: ASGIApp
    services: Services
    client: httpx.AsyncClient
    broker: MemoryBroker
    people: dict[str, User]
    security: list[SecurityEvent]
    tickets: StoredTickets
    drain: asyncio.Event

    def token(self, name: str, *, ttl: int = 3600) -> str:
        return issue(SECRET, self.people[name].id, ttl=ttl, now=time.time(), jti=new_id())

    def as_(self, name: str, **headers: str) -> dict[str, str]:
        """The headers of a request of that user."""
        return {"Authorization": f"Bearer {self.token(name)}", **headers}

    async def get(self, path: str, name: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=self.as_(name, **headers))

    async def post(self, path: str, name: str, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.post(path, json=body, headers=self.as_(name, **headers))

    async def put(self, path: str, name: str, body: Any) -> httpx.Response:
        return await self.client.put(path, json=body, headers=self.as_(name))

    async def post_raw(self, path: str, name: str, body: bytes, **headers: str) -> httpx.Response:
        sent = {"Content-Type": "application/json", **headers}
        return await self.client.post(path, content=body, headers=self.as_(name, **sent))

    async def audited(self) -> list[SecurityEvent]:
        """The security log so far."""
        await self.services.audit.flush()
        return self.security

    async def notified(self, name: str, **more: Any) -> dict[str, Any]:
        """A notification to that user, from themself."""
        answer = await self.post("/notifications", name, {"title": "Hello", "content": "News.", **more})
        assert answer.status_code == 201, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def job(self, name: str, **more: Any) -> dict[str, Any]:
        """A job of that user, queued."""
        body = {"kind": "demo.steps", "payload": {"steps": 3, "delayMs": 0}, **more}
        answer = await self.post("/jobs", name, body)
        assert answer.status_code == 202, answer.text
        made: dict[str, Any] = answer.json()
        return made


@asynccontextmanager
async def serving(url: str, routes: Sequence[BaseRoute] = (), **changes: Any) -> AsyncIterator[Rig]:
    """A surface on the database at ``url``; ``changes`` are of its services."""
    await tables.lay(url)
    async with Database(url) as database:
        people = await _settle(database)
        broker = MemoryBroker(Limits(), clock=time.time)
        await broker.start(lambda _: None)
        # Published is what is kicked; no sweep comes between a test and its end.
        relay = Relay(database, broker, sweep_seconds=3600)
        jobs = await _jobs(database, relay)
        files = LocalStorage(Path(url.removeprefix("sqlite:///")).parent / "artifacts")
        security: list[SecurityEvent] = []
        tickets, drain = StoredTickets(database, {OWN_ORIGIN}), asyncio.Event()
        services = replace(
            _services(database, relay, jobs, files, security, tickets), draining=drain.is_set, **changes
        )
        app = build(services, routes)
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://tidings.test")
        rig = Rig(app, services, client, broker, people, security, tickets, drain)
        running = asyncio.create_task(relay.run())
        relay.kick()
        try:
            async with client:
                yield rig
        finally:
            await relay.flushed()
            running.cancel()
            await asyncio.wait([running])
            await services.inbox.close()
            await broker.close()


async def _jobs(database: Database, relay: Relay) -> Jobs:
    registry = Registry()
    demo.register(registry)
    jobs = Jobs(database, relay, registry, wake=lambda _: None, cancel_hint=lambda _: None)
    await jobs.start()
    await External(database, relay).start()
    return jobs


def _services(
    database: Database,
    relay: Relay,
    jobs: Jobs,
    files: LocalStorage,
    security: list[SecurityEvent],
    tickets: StoredTickets,
) -> Services:
    async def store(events: Sequence[SecurityEvent]) -> None:
        security.extend(events)

    async def ready() -> bool:
        await database.ping()
        return True

    audit = SecurityLog("node-1", store, sink=lambda _: None)
    origins = Origins(frozenset({OWN_ORIGIN, PAGE_ORIGIN}))
    return Services(
        admission=Admission(_authenticator(database, audit), origins, tickets, cookie_name=COOKIE_PLAIN),
        inbox=Inbox(database, relay),
        relay=relay,
        jobs=jobs,
        external=External(database, relay),
        files=files,
        once=partial(once, database),
        at_a_stroke=partial(at_a_stroke, database),
        limiter=SlidingWindow(600, 60),
        report_limiter=SlidingWindow(600, 60),
        origins=origins,
        peers=Peers(()),
        audit=audit,
        admin=_admin(database),
        ready={"database": ready},
        draining=lambda: False,
        metrics=REGISTRY,
        metrics_open=True,
        metrics_token=None,
        public_https=True,
    )


def _admin(database: Database) -> AdminServices:
    """Orders are given, and nobody carries them out."""
    vitals = Vitals("node-1", 0, lambda: False)

    async def nodes() -> list[dict[str, Any]]:
        return [seen_now(vitals())]

    async def node(node_id: str) -> dict[str, Any] | None:
        (own,) = await nodes()
        return own if node_id == own["id"] else None

    unheard = Signals(MemoryBroker(Limits(), clock=time.time))
    orders = Orders(database, unheard, cast("Enforce", None))
    return AdminServices(Administration(database, orders), vitals, nodes, node)


def _authenticator(database: Database, audit: SecurityLog) -> Authenticator:
    async def load(ids: Any) -> Any:
        async with database.read() as tx:
            return await users.by_ids(tx, ids)

    verifier = TokenVerifier(SecretKeySource(SECRET), algorithm="HS256", revoked=lambda _: False)
    return Authenticator(verifier, Directory(load), audit)


async def _settle(database: Database) -> dict[str, User]:
    acme, other = a_tenant("acme"), a_tenant("other")
    people = {name: a_user(acme, name, role) for name, role in _ROLES.items()}
    people["eve"] = a_user(other, "eve")
    async with database.write() as tx:
        await tenants.insert(tx, acme)
        await tenants.insert(tx, other)
        for user in people.values():
            assert await users.insert(tx, user)
    return people
