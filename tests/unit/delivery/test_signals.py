"""Signals between processes on one broker: told to everyone who listens for them, and lost without harm."""

import asyncio
import time
from collections.abc import Collection

import pytest

from tidings.broker.base import BrokerUnavailable, Limits
from tidings.broker.memory import MemoryBroker
from tidings.delivery import signals
from tidings.delivery.signals import Signals
from tidings.domain.channel import SIGNALS, Channel
from tidings.domain.event import Published

WAKE, REST = "wake", "rest"


class Hall(MemoryBroker):
    """A broker of several processes, whom nobody can subscribe to at first if ``away``."""

    def __init__(self, *, away: bool = False) -> None:
        super().__init__(Limits(), clock=time.time)
        self.away = away
        self.members: list[Signals] = []
        self.whispers: list[Published] = []

    async def subscribe(self, channels: Collection[Channel]) -> None:
        if self.away:
            self.away = False
            raise BrokerUnavailable("away")
        await super().subscribe(channels)

    def hear(self, published: Published) -> None:
        self.whispers.append(published)
        for member in self.members:
            member.hear(published)

    def member(self) -> Signals:
        self.members.append(Signals(self))
        return self.members[-1]


@pytest.fixture
async def hall() -> Hall:
    made = Hall()
    await made.start(made.hear)
    return made


async def test_everyone_hears_it(hall: Hall) -> None:
    """A signal reaches its own process and every other one, at once and exactly once."""
    heard: list[tuple[int, bytes]] = []
    members = [hall.member() for _ in range(3)]
    for number, member in enumerate(members):
        member.on(WAKE, lambda data, number=number: heard.append((number, data)))  # type: ignore[misc]
        await member.listen()
    members[1].send(WAKE, b"1")
    assert sorted(heard) == [(0, b"1"), (1, b"1"), (2, b"1")]


async def test_what_is_listened_for(hall: Hall) -> None:
    """A process hears the names that it listens for, and what nobody listens for is whispered to nobody."""
    heard: list[bytes] = []
    one, two = hall.member(), hall.member()
    one.on(WAKE, heard.append)
    await one.listen()
    await two.listen()
    two.send(REST, b"0")
    two.send(WAKE, b"1")
    assert heard == [b"1"]
    assert [(each.channel.tenant, each.channel.name) for each in hall.whispers] == [(SIGNALS, WAKE)]


async def test_a_burst_is_told_once(hall: Hall) -> None:
    """The same twice in a turn of the event loop is told once; in the next one it is told again."""
    own: list[bytes] = []
    others: list[bytes] = []
    one, two = hall.member(), hall.member()
    one.on(WAKE, own.append)
    two.on(WAKE, others.append)
    await one.listen()
    await two.listen()
    for data in (b"", b"", b"last", b""):
        one.send(WAKE, data)
    assert own == others == [b"", b"last"]
    await asyncio.sleep(0)
    one.send(WAKE)
    assert own == others == [b"", b"last", b""]


async def test_lost_without_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the broker is away a signal is lost to the others, and listening begins as soon as it is there."""
    monkeypatch.setattr(signals, "RETRY_SECONDS", 0.0)
    hall = Hall(away=True)
    own: list[bytes] = []
    others: list[bytes] = []
    one, two = hall.member(), hall.member()
    one.on(WAKE, own.append)
    two.on(WAKE, others.append)
    one.send(WAKE, b"lost")
    await hall.start(hall.hear)
    await two.listen()
    one.send(WAKE, b"found")
    assert (own, others) == ([b"lost", b"found"], [b"found"])
