"""Brokers against a naive model that keeps everything, over random interleavings.

The model knows what was published and, from the bounds, what a broker *may* have forgotten by now. A broker
that remembers more than it must is right too; one that gives a part, a wrong order or a wrong ``prev``, or
refuses what it must still know, is not.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.support.broker_rig import (
    ACME,
    ANN,
    BOB,
    JOB,
    OTHER,
    STRANGER,
    MakeRig,
    event,
    memory_rig,
    redis_rig,
)
from tests.support.redis import Arrangement, standalone
from tidings.broker.base import Limits
from tidings.broker.memory import Remember
from tidings.domain.channel import GLOBAL_CHANNEL, GLOBAL_TENANT, Channel, tenant_channel
from tidings.domain.event import Event, Published
from tidings.domain.people import TenantId
from tidings.domain.position import Position

# Halves, because time passes in whole seconds: nothing is ever exactly as old as a bound.
LIMITS = Limits(events=3, seconds=10.5)
REMEMBER = Remember(seconds=50.5, channels=3)

CHANNELS = {
    ACME: (ANN, BOB, JOB, tenant_channel(ACME)),
    OTHER: (STRANGER,),
    GLOBAL_TENANT: (GLOBAL_CHANNEL,),
}
T = TypeVar("T")

channels = st.sampled_from([channel for group in CHANNELS.values() for channel in group])
groups = st.sampled_from(list(CHANNELS.values())).flatmap(
    lambda group: st.sets(st.sampled_from(group), min_size=1)
)
keys = st.sampled_from(["", "", "k", "l"])


@dataclass
class Entry:
    """An event as it was published. A broker that forgot the channel says ``prev`` up to ``prev_at_most``."""

    channel: Channel
    offset: int
    event: Event
    prev: int
    prev_at_most: int
    at: float

    def is_told_by(self, published: Published) -> bool:
        return (
            (published.channel, published.event) == (self.channel, self.event)
            and published.position.offset == self.offset
            and self.prev <= published.prev <= self.prev_at_most
        )


@dataclass
class Tenant:
    """Everything of one tenant since its epoch began. No channel that may be forgotten is above ``floor``."""

    epoch: str
    touched: float
    entries: list[Entry] = field(default_factory=list)
    by_channel: dict[Channel, list[Entry]] = field(default_factory=dict)
    keys: dict[str, Entry] = field(default_factory=dict)
    floor: int = 0

    @property
    def position(self) -> Position:
        return Position(self.epoch, len(self.entries))

    def publish(self, channel: Channel, sent: Event, offset: int, now: float) -> tuple[Entry, bool]:
        """The event's entry, or its key's earlier one, which ``offset`` may be of if it is old; and whether it is new."""
        first = self.keys.get(sent.key) if sent.key else None
        if first is not None and (now - first.at <= REMEMBER.seconds or offset == first.offset):
            return first, False
        self.raise_floor(now)
        prev = self.last(channel)
        at_most = prev if self.remembers(channel, now) else max(prev, self.floor)
        entry = Entry(channel, len(self.entries) + 1, sent, prev, at_most, now)
        self.entries.append(entry)
        self.by_channel.setdefault(channel, []).append(entry)
        self.keys[sent.key] = entry
        return entry, True

    def of(self, channel: Channel) -> list[Entry]:
        return self.by_channel.get(channel, [])

    def last(self, channel: Channel) -> int:
        known = self.of(channel)
        return known[-1].offset if known else 0

    def remembers(self, channel: Channel, now: float) -> bool:
        """Whether the channel's last number must still be known."""
        known = self.of(channel)
        if not known or now - known[-1].at > REMEMBER.seconds:
            return False
        return sum(self.last(other) > known[-1].offset for other in self.by_channel) < REMEMBER.channels

    def raise_floor(self, now: float) -> None:
        forgettable = [channel for channel in self.by_channel if not self.remembers(channel, now)]
        self.floor = max([self.floor, *map(self.last, forgettable)])

    def in_history(self, entry: Entry, now: float) -> bool:
        return now - entry.at <= LIMITS.seconds and entry in self.of(entry.channel)[-LIMITS.events :]

    def owes(self, channel: Channel, after: int, now: float) -> bool:
        """Whether what followed on this channel, if only nothing, must still be known."""
        self.raise_floor(now)
        newer = [entry for entry in self.of(channel) if entry.offset > after]
        if not self.remembers(channel, now):
            return not newer and after >= self.floor
        if not newer:
            return True
        return newer[0].prev_at_most <= after and all(self.in_history(entry, now) for entry in newer)


class BrokerMachine(RuleBasedStateMachine):
    """Publish, wait, subscribe and resume in any order, and compare."""

    def __init__(self, make_rig: MakeRig) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.rig = self.run(self.stack.enter_async_context(make_rig(LIMITS)))
        self.broker = self.rig.broker
        self.now = 0.0
        self.sent = 0
        self.tenants: dict[TenantId, Tenant] = {}
        self.outlived: list[str] = []
        self.ears: Counter[Channel] = Counter()
        self.expected: list[Entry] = []

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        return self.runner.run(coroutine)

    def teardown(self) -> None:
        self.run(self.stack.aclose())
        self.runner.close()

    @rule(channel=channels, key=keys)
    def publish_one(self, channel: Channel, key: str) -> None:
        self.publish([(channel, key)])

    @rule(batch=st.lists(st.tuples(channels, keys), max_size=6))
    def publish(self, batch: list[tuple[Channel, str]]) -> None:
        events = [(channel, event(str(self.sent + i), key)) for i, (channel, key) in enumerate(batch)]
        self.sent += len(batch)
        positions = self.run(self.broker.publish(events))
        for (channel, sent), position in zip(events, positions, strict=True):
            tenant = self.tenant(channel.tenant, position.epoch)
            entry, new = tenant.publish(channel, sent, position.offset, self.now)
            assert position.offset == entry.offset
            if new and self.ears[channel]:
                self.expected.append(entry)

    @rule(channel=channels)
    def flood(self, channel: Channel) -> None:
        """More than a history holds."""
        self.publish([(channel, "")] * (LIMITS.events + 1))

    @rule(seconds=st.sampled_from([1, 4, 11, 30, 60]))
    def wait(self, seconds: int) -> None:
        self.run(self.rig.advance(seconds))
        self.now += seconds

    @rule(group=groups)
    def subscribe(self, group: set[Channel]) -> None:
        self.look(group)
        self.run(self.broker.subscribe(group))
        self.ears.update(group)

    @rule(group=groups)
    def unsubscribe(self, group: set[Channel]) -> None:
        heard = {channel for channel in group if self.ears[channel]}
        self.look(heard)
        self.run(self.broker.unsubscribe(heard))
        self.ears.subtract(heard)

    @rule(group=groups, back=st.integers(min_value=-2, max_value=12))
    def resume(self, group: set[Channel], back: int) -> None:
        """From a position so many events ago, which with a negative number is one of the future."""
        self.look(group)
        now_at = self.tenants[next(iter(group)).tenant].position
        self.read(group, Position(now_at.epoch, max(0, now_at.offset - back)))

    @precondition(lambda self: self.outlived)
    @rule(group=groups, offset=st.integers(min_value=0, max_value=5))
    def resume_from_an_old_epoch(self, group: set[Channel], offset: int) -> None:
        self.read(group, Position(self.outlived[-1], offset))

    @invariant()
    def delivered(self) -> None:
        """What was delivered is exactly what was published to the channels heard, each tenant's in that order."""
        self.run(self.rig.settle())
        assert len(self.rig.heard) == len(self.expected)
        for tenant in CHANNELS:
            expected = [entry for entry in self.expected if entry.channel.tenant == tenant]
            heard = [published for published in self.rig.heard if published.channel.tenant == tenant]
            for entry, published in zip(expected, heard, strict=True):
                assert entry.is_told_by(published)

    def tenant(self, name: TenantId, epoch: str) -> Tenant:
        """The tenant, who may begin anew only when unheard and untouched for long."""
        known = self.tenants.get(name)
        if known is None or known.epoch != epoch:
            if known is not None:
                assert self.now - known.touched > REMEMBER.seconds
                assert not any(self.ears[channel] for channel in CHANNELS[name])
                self.outlived.append(known.epoch)
            self.tenants[name] = Tenant(epoch, self.now)
        self.tenants[name].touched = self.now
        return self.tenants[name]

    def look(self, group: Collection[Channel]) -> None:
        for name in {channel.tenant for channel in group}:
            position = self.run(self.broker.position(name))
            assert position == self.tenant(name, position.epoch).position

    def read(self, group: set[Channel], after: Position) -> None:
        history = self.run(self.broker.read(group, after))
        tenant = self.tenant(next(iter(group)).tenant, history.upto.epoch)
        assert history.upto == tenant.position
        sound = after.epoch == tenant.epoch and after.offset <= tenant.position.offset
        if not history.complete:
            assert history.events == ()
            assert not sound or not all(tenant.owes(channel, after.offset, self.now) for channel in group)
            return
        assert sound
        follows = [
            entry for entry in tenant.entries if entry.offset > after.offset and entry.channel in group
        ]
        assert len(history.events) == len(follows)
        for entry, published in zip(follows, history.events, strict=True):
            assert entry.is_told_by(published)
            assert tenant.in_history(entry, self.now)


@pytest.fixture(scope="module")
def redis() -> Iterator[Arrangement]:
    with standalone() as arrangement:
        yield arrangement


def run_machine(make_rig: MakeRig, examples: int) -> None:
    run_state_machine_as_test(
        partial(BrokerMachine, make_rig),  # type: ignore[arg-type]  # documented: any factory will do
        settings=settings(
            max_examples=examples, stateful_step_count=50, deadline=None, derandomize=True, database=None
        ),
    )


def test_memory_never_differs_from_the_model() -> None:
    """*Numbered, atomic, ordered, bounded, whole or refused, honest*, whatever happens in whatever order."""
    run_machine(partial(memory_rig, remember=REMEMBER), examples=100)


def test_redis_never_differs_from_the_model(redis: Arrangement) -> None:
    """The same of Redis, where each step takes its time: what is rare is left to the memory broker's run."""
    run_machine(partial(redis_rig, redis), examples=50)
