"""Signals between processes on one broker: told to everyone once, and lost without harm."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from tidings.broker.base import BrokerUnavailable, Limits
from tidings.broker.memory import MemoryBroker
from tidings.delivery.signals import Signals
from tidings.domain.channel import SIGNALS, Channel
from tidings.domain.event import Event, Published
from tidings.domain.position import Position


class Unwilling(MemoryBroker):
    """A broker that refuses to publish once, if it is told to."""

    def __init__(self) -> None:
        super().__init__(Limits(), clock=time.time)
        self.refused = asyncio.Event()
        self.refused.set()

    async def publish(self, batch: Sequence[tuple[Channel, Event]]) -> list[Position]:
        if not self.refused.is_set():
            self.refused.set()
            raise BrokerUnavailable("away")
        return await super().publish(batch)


@asynccontextmanager
async def running(broker: MemoryBroker, count: int) -> AsyncIterator[tuple[Signals, ...]]:
    """So many processes' signals; they have subscribed."""
    made = tuple(Signals(broker) for _ in range(count))

    def deliver(published: Published) -> None:
        for signals in made:
            signals.hear(published)

    await broker.start(deliver)
    tasks = [asyncio.create_task(signals.run()) for signals in made]
    try:
        yield made
    finally:
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
def broker() -> Unwilling:
    return Unwilling()


async def test_everyone_hears_it(broker: Unwilling) -> None:
    """A signal reaches its own process at once and another one through the broker, each exactly once."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    own: list[bytes] = []
    async with running(broker, 2) as (one, two):
        one.on("wake", own.append)
        two.on("wake", heard.put_nowait)
        one.send("wake", b"1")
        assert own == [b"1"]
        assert await heard.get() == b"1"
        one.send("wake", b"2")
        assert await heard.get() == b"2"
        assert own == [b"1", b"2"]


async def test_a_burst_is_told_once(broker: Unwilling) -> None:
    """The same signal, sent many times before it could be published, goes out once."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    async with running(broker, 2) as (one, two):
        two.on("wake", heard.put_nowait)
        for _ in range(100):
            one.send("wake")
        one.send("wake", b"last")
        assert [await heard.get(), await heard.get()] == [b"", b"last"]
        assert (await broker.position(SIGNALS.tenant)).offset == 2


async def test_lost_without_harm(broker: Unwilling) -> None:
    """While the broker is away a signal is lost to the others, and the next one is heard."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    broker.refused.clear()
    async with running(broker, 2) as (one, two):
        two.on("wake", heard.put_nowait)
        one.send("wake", b"lost")
        await broker.refused.wait()
        one.send("wake", b"found")
        assert await heard.get() == b"found"
