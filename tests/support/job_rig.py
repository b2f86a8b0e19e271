"""A small world for jobs: a database, a broker that is listened to, two users, and workers as many as wanted."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support import tables
from tests.support.job_kinds import KINDS
from tidings.artifacts.local import LocalStorage
from tidings.broker.base import Limits as BrokerLimits
from tidings.broker.memory import MemoryBroker
from tidings.delivery.relay import Relay
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.event import Published
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobPriority
from tidings.domain.people import Principal, Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.jobs.artifacts import ArtifactLimits, Artifacts
from tidings.jobs.executor import Limits
from tidings.jobs.kinds import Registry
from tidings.jobs.queue import utc_now
from tidings.jobs.requests import Jobs
from tidings.jobs.worker import Worker
from tidings.store import tenants, users
from tidings.store.database import Database

PATIENCE_SECONDS = 30.0
QUICK = Limits(concurrency=2, lease=2.0, timeout=20.0, grace=0.2)
"""Short waits, so that a test of a grace or a lease is a quick one."""
SMALL = ArtifactLimits(size=100_000, count=3)


class FlakyDatabase(Database):
    """One whose network fails: ``reachable`` before a transaction, ``answers`` after its commit."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.reachable = self.answers = True
        self._refused = asyncio.Event()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        if not self.reachable:
            self._refused.set()
            raise TidingsError(ErrorCode.UNAVAILABLE)
        async with super().write() as tx:
            yield tx
        if not self.answers:
            raise TidingsError(ErrorCode.UNAVAILABLE)

    async def refused_again(self) -> None:
        """Wait until somebody was refused once more."""
        self._refused.clear()
        await self._refused.wait()


@dataclass
class JobRig:
    database: Database
    relay: Relay
    broker: MemoryBroker
    registry: Registry
    principal: Principal
    stranger: Principal
    artifacts: Artifacts
    storage: LocalStorage
    relaying: asyncio.Task[None] = field(init=False)
    jobs: Jobs = field(init=False)
    heard: list[Published] = field(default_factory=list)
    workers: list[Worker] = field(default_factory=list)
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.jobs = Jobs(self.database, self.relay, self.registry, self.wake, self.cancel_hint)

    def wake(self, job_id: str | None = None) -> None:
        for worker in self.workers:
            worker.wake(job_id)

    def cancel_hint(self, job_id: str) -> None:
        for worker in self.workers:
            worker.cancel_hint(job_id)

    def hear(self, published: Published) -> None:
        self.heard.append(published)
        self.changed.set()

    def start_worker(self, limits: Limits = QUICK, database: Database | None = None) -> Worker:
        worker = Worker(
            database or self.database,
            self.relay,
            self.registry,
            self.artifacts,
            new_id(),
            limits,
            due=self.wake,
            chance=lambda: 0.0,
        )
        self.workers.append(worker)
        self.tasks.append(asyncio.create_task(worker.run()))
        return worker

    async def stop_worker(self, worker: Worker) -> None:
        """As an app does that ends in a hurry."""
        index = self.workers.index(worker)
        self.workers.pop(index)
        await _end(self.tasks.pop(index))

    async def submit(
        self,
        kind: str,
        payload: dict[str, Any] | None = None,
        *,
        priority: JobPriority = JobPriority.STANDARD,
    ) -> Job:
        """Submit a job, having subscribed to its events."""
        async with self.database.write() as tx:
            job = await self.jobs.submit(
                tx, self.principal, kind=kind, payload=payload or {}, priority=priority
            )
            await self.broker.subscribe([job.channel])
        self.jobs.committed(job.id)
        return job

    def events(self, job: Job) -> list[dict[str, Any]]:
        """What was told of the job so far."""
        return [orjson.loads(each.event.data) for each in self.heard if each.channel == job.channel]

    def types(self, job: Job) -> list[str]:
        """The types of what was told of the job, a run of progress as one."""
        types = [str(event["type"]) for event in self.events(job)]
        return [each for n, each in enumerate(types) if each != "progress" or types[n - 1 : n] != [each]]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, looking whenever something was told."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    async def told(self, job: Job, type_: str, attempt: int | None = None) -> dict[str, Any]:
        """The job's first event of that type, waited for."""

        def found() -> list[dict[str, Any]]:
            return [
                event
                for event in self.events(job)
                if event["type"] == type_ and attempt in (None, event["attempt"])
            ]

        await self.until(lambda: bool(found()))
        return found()[0]

    async def finished(self, job: Job) -> Job:
        """The job as it is stored once its terminal event was told."""
        await self.until(lambda: {"completed", "failed", "cancelled"} & set(self.types(job)) != set())
        return await self.jobs.get(self.principal, job.id)


@asynccontextmanager
async def job_rig(url: str, registry: Registry = KINDS) -> AsyncIterator[JobRig]:
    await tables.lay(url)
    with TemporaryDirectory() as folder:
        async with Database(url) as database, _rig(database, registry, Path(folder)) as rig:
            yield rig


@asynccontextmanager
async def _rig(database: Database, registry: Registry, folder: Path) -> AsyncIterator[JobRig]:
    broker = MemoryBroker(BrokerLimits())
    relay = Relay(database, broker)
    principal, stranger = await _people(database)
    storage = LocalStorage(folder)
    artifacts = Artifacts(database, relay, storage, SMALL)
    rig = JobRig(database, relay, broker, registry, principal, stranger, artifacts, storage)
    await broker.start(rig.hear)
    await rig.jobs.start()
    rig.relaying = asyncio.create_task(relay.run())
    try:
        yield rig
    finally:
        for task in (*rig.tasks, rig.relaying):
            await _end(task)
        await broker.close()


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def _people(database: Database) -> tuple[Principal, Principal]:
    """A user, and an admin of the same tenant, who is a stranger to the user's jobs."""
    now = utc_now()
    tenant = Tenant(TenantId(new_id()), "acme", "Acme", TenantStatus.ACTIVE, now)
    people = [
        User(UserId(new_id()), tenant.id, f"{role.value}@acme.test", None, role, active=True, created_at=now)
        for role in (Role.USER, Role.ADMIN)
    ]
    async with database.write() as tx:
        await tenants.insert(tx, tenant)
        for user in people:
            await users.insert(tx, user)
    principal, stranger = (
        Principal(each.id, tenant.id, each.role, each.email, each.name, expires_at=float("inf"))
        for each in people
    )
    return principal, stranger
