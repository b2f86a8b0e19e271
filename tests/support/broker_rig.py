"""A broker under test, with its clock and ears: what the broker's contract tests need of an implementation.

An implementation joins the contract by one more entry in ``RIGS``.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from tidings.broker.base import Broker, Limits
from tidings.broker.memory import MemoryBroker, Remember
from tidings.domain.channel import job_channel, user_channel
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


RIGS: dict[str, MakeRig] = {
    "memory": memory_rig,
}
