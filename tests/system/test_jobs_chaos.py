"""Real worker processes are killed at random points under load: "every accepted job gets a terminal event, even if
its worker dies" (contract, section 5), exactly one.

Six kills, or fifty with ``TIDINGS_CHAOS=full``; ``TIDINGS_CHAOS_SEED`` repeats a run. The counts are printed.
"""

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import pytest

from tests.support import redis, tables
from tests.support.installed import TIDINGS
from tests.support.processes import Child, running
from tests.support.server import SECRET
from tests.support.store_rig import settle
from tidings.broker.base import Limits
from tidings.broker.redis.broker import RedisBroker
from tidings.broker.redis.ledger import Terms
from tidings.delivery.relay import Relay
from tidings.delivery.signals import Signals
from tidings.domain.channel import Channel
from tidings.domain.event import EventClass, Published
from tidings.domain.job import Job
from tidings.domain.people import Principal, User
from tidings.jobs.kinds import REGISTRY
from tidings.jobs.requests import Jobs
from tidings.store import jobs
from tidings.store.database import Database
from tidings.workshop import DUE

ROOT = Path(__file__).parents[2]
KINDS = "tests.support.chaos_kinds"
PAYLOADS = {
    "chaos.work": ({"seconds": 0.05}, {"seconds": 0.5}, {"seconds": 0.01, "fails": 2}),
    "chaos.plain": ({"seconds": 0.0},),
    "chaos.last": ({"seconds": 0.2},),
}
pytestmark = pytest.mark.chaos

FULL = os.environ.get("TIDINGS_CHAOS") == "full"
KILLS = 50 if FULL else 6
WORKERS = 2
PATIENCE_SECONDS = 300.0 if FULL else 90.0


@dataclass
class Crowd:
    """Who hands jobs in and hears how they end."""

    database: Database
    broker: RedisBroker
    relay: Relay
    people: list[User]
    chance: random.Random
    accepted: list[Job] = field(default_factory=list)
    closed: bool = False
    ends: Counter[Channel] = field(default_factory=Counter)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.signals = Signals(self.broker)
        self.jobs = Jobs(self.database, self.relay, REGISTRY, self.due, lambda _: None)

    def due(self, job_id: str | None) -> None:
        self.signals.send(DUE, (job_id or "").encode())

    def hear(self, published: Published) -> None:
        if published.event.klass is EventClass.FINAL:
            self.ends[published.channel] += 1
            self.changed.set()

    async def hand_in(self) -> None:
        """Jobs of all users and kinds, without end."""
        while not self.closed:
            user, kind = self.chance.choice(self.people), self.chance.choice(list(PAYLOADS))
            who = Principal(user.id, user.tenant_id, user.role, user.email, user.name, float("inf"))
            async with self.database.write() as tx:
                job = await self.jobs.submit(
                    tx, who, kind=kind, payload=dict(self.chance.choice(PAYLOADS[kind]))
                )
                await self.broker.subscribe([job.channel])
            self.accepted.append(job)
            self.jobs.committed(job.id)
            await asyncio.sleep(self.chance.uniform(0, 0.04))

    async def all_over(self) -> None:
        """Wait until each job that was accepted has ended."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.ends) < len(self.accepted):
                self.changed.clear()
                await self.changed.wait()


class Crew:
    """The worker processes: always as many as there should be, never the same for long."""

    def __init__(self, stack: AsyncExitStack, env: dict[str, str], folder: Path) -> None:
        self._begin = partial(
            running, [TIDINGS, "worker", "--app", KINDS, "--concurrency", "4"], env=env, cwd=folder
        )
        self._stack = stack
        self.each: list[Child] = []

    async def begin(self) -> None:
        """One more, which is not waited for."""
        self.each.append(await asyncio.to_thread(self._stack.enter_context, self._begin()))

    async def kill(self, chance: random.Random) -> None:
        """End one at once, and begin another."""
        victim = chance.choice(self.each)
        os.kill(victim.pid, signal.SIGKILL)
        self.each.remove(victim)
        await self.begin()


@asynccontextmanager
async def crowd(url: str, redis_url: str, chance: random.Random) -> AsyncIterator[Crowd]:
    await tables.lay(url)
    broker = RedisBroker(redis_url, Terms(Limits()))
    async with Database(url) as database:
        people = [user for slug in ("acme", "globex") for user in (await settle(database, slug))[1]]
        made = Crowd(database, broker, Relay(database, broker), people, chance)
        await broker.start(made.hear)
        await made.jobs.start()
        relaying = asyncio.create_task(made.relay.run())
        try:
            yield made
        finally:
            relaying.cancel()
            await asyncio.wait([relaying])
            await broker.close()


async def test_killed_at_random(
    database_url: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """ "a worker killed with SIGKILL loses no job", and none ends twice, however many are killed."""
    __import__(KINDS)
    seed = int(os.environ.get("TIDINGS_CHAOS_SEED", random.randrange(1_000_000)))
    chance = random.Random(seed)
    async with AsyncExitStack() as stack:
        server = stack.enter_context(redis.serving())
        rig = await stack.enter_async_context(crowd(database_url, server.url, chance))
        crew = Crew(stack, _environment(database_url, server.url, tmp_path), tmp_path)
        for _ in range(WORKERS):
            await crew.begin()
        handing_in = asyncio.create_task(rig.hand_in())
        for _ in range(KILLS):
            before = len(rig.ends)
            while len(rig.ends) == before:  # something must be going on
                rig.changed.clear()
                await rig.changed.wait()
            await asyncio.sleep(chance.uniform(0, 0.5))
            await crew.kill(chance)
        rig.closed = True
        await handing_in
        await rig.all_over()
        states = Counter[str]()
        attempts = 0
        for job in rig.accepted:
            async with rig.database.read() as tx:
                found = await jobs.get_any(tx, job.id)
            assert found is not None
            states[found.job.status.value] += 1
            attempts += found.job.attempt
    record_property(
        "counted",
        f"seed {seed}: {KILLS} workers killed, {len(rig.accepted)} jobs accepted, {attempts} attempts, "
        f"{dict(states)}, {sum(rig.ends.values())} terminal events",
    )
    assert rig.ends == Counter(job.channel for job in rig.accepted)
    assert set(states) <= {"succeeded", "failed"}


def _environment(database: str, broker: str, folder: Path) -> dict[str, str]:
    settings = {
        "env": "test",
        "var": folder,
        "jwt_secret": SECRET,
        "database_url": database,
        "broker_url": broker,
        "job_lease_seconds": 1,
    }
    given = {f"TIDINGS_{name.upper()}": str(value) for name, value in settings.items()}
    paths = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**paths, **given, "PYTHONPATH": str(ROOT)}
