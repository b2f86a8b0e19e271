"""A broker under test, with its clock and ears: what the broker's contract tests need of an implementation.

The memory broker is made for each test; a Redis broker too, on servers that a module of tests shares.
"""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Protocol

from tests.support.redis import ORDINARY, Arrangement, cluster, sentinel, standalone
from tidings.broker.base import Broker, Limits
from tidings.broker.memory import MemoryBroker, Remember
from tidings.broker.redis.broker import RedisBroker
from tidings.broker.redis.ledger import Terms
from tidings.domain.channel import Channel, job_channel, user_channel
from tidings.domain.event import Event, EventClass, Published
from tidings.domain.people import TenantId, UserId

ACME = TenantId("acme")
OTHER = TenantId("other")
ANN = user_channel(ACME, UserId("ann"))
BOB = user_channel(ACME, UserId("bob"))
JOB = job_channel(ACME, "job")
STRANGER = user_channel(OTHER, UserId("ann"))


def event(data: str = "", key: str = "") -> Event:
    return Event("notification:new", data.encode(), EventClass.INBOX, key)


class BrokerRig(Protocol):
    """A started broker; ``heard`` is what it delivered, in that order."""

    @property
    def broker(self) -> Broker: ...

    @property
    def heard(self) -> list[Published]: ...

    async def settle(self) -> None:
        """Return when everything that was published has been delivered."""

    async def advance(self, seconds: float) -> None:
        """Let time pass for the broker."""

    async def lose(self) -> None:
        """Make the broker forget its counters, as a flush or a very long silence does."""


MakeRig = Callable[[Limits], AbstractAsyncContextManager[BrokerRig]]


@dataclass
class FakeClock:
    """Seconds that pass when told to."""

    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def epochs() -> Callable[[], str]:
    """Epochs that can be told apart at a glance: e1, e2, ..."""
    numbers = count(1)
    return lambda: f"e{next(numbers)}"


@dataclass
class MemoryRig:
    """``MemoryBroker`` with a fake clock."""

    limits: Limits
    remember: Remember = field(default_factory=Remember)
    clock: FakeClock = field(default_factory=FakeClock)
    heard: list[Published] = field(default_factory=list)
    broker: MemoryBroker = field(init=False)

    def __post_init__(self) -> None:
        self.broker = MemoryBroker(self.limits, self.clock, epochs(), remember=self.remember)

    async def settle(self) -> None:
        """Nothing to wait for: publishing delivers before it returns."""

    async def advance(self, seconds: float) -> None:
        self.clock.now += seconds

    async def lose(self) -> None:
        await self.advance(self.remember.seconds + 1)
        await self.sweep()

    async def sweep(self, publishes: int = 20) -> None:
        """Be busy elsewhere, which is what frees the quiet."""
        busy = user_channel(TenantId("busy"), UserId("bee"))
        await self.broker.publish([(busy, event())] * publishes)


@asynccontextmanager
async def memory_rig(limits: Limits, remember: Remember | None = None) -> AsyncIterator[MemoryRig]:
    rig = MemoryRig(limits, remember or Remember())
    await rig.broker.start(rig.heard.append)
    try:
        yield rig
    finally:
        await rig.broker.close()


@dataclass
class RedisRig:
    """``RedisBroker`` on real servers. Time passes by moving its past."""

    arrangement: Arrangement
    limits: Limits
    heard: list[Published] = field(default_factory=list)
    lost: list[Channel] = field(default_factory=list)
    broker: RedisBroker = field(init=False)
    since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.broker = RedisBroker(self.arrangement.url, Terms(self.limits))

    async def settle(self) -> None:
        """Guarantee 8: what a position is beyond has been delivered."""
        for tenant in {channel.tenant for channel in self.broker._channels}:
            await self.broker.position(tenant)

    async def advance(self, seconds: float) -> None:
        """What the test itself took since is part of it, so that the model's time and Redis's do not part."""
        passed = time.monotonic() - self.since
        self.arrangement.age(max(0.0, seconds - passed))
        self.since = time.monotonic()

    async def lose(self) -> None:
        self.arrangement.flush()


@asynccontextmanager
async def redis_rig(arrangement: Arrangement, limits: Limits) -> AsyncIterator[RedisRig]:
    arrangement.flush()
    rig = RedisRig(arrangement, limits)
    await rig.broker.start(rig.heard.append, rig.lost.append)
    try:
        yield rig
    finally:
        await rig.broker.close()


def broker_rig(servers: Arrangement | None, limits: Limits) -> AbstractAsyncContextManager[BrokerRig]:
    """On these servers; None: of one process."""
    return memory_rig(limits) if servers is None else redis_rig(servers, limits)


ARRANGEMENTS: dict[str, Callable[[], AbstractContextManager[Arrangement]]] = {
    "redis": standalone,
    "redis before sharding": partial(standalone, *ORDINARY),
    "redis cluster": cluster,
    "redis sentinel": sentinel,
}
"""Every way in which a Redis can be had. The names are those of the tests' parameters."""
