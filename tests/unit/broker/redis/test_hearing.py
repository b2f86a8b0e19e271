"""What a node tells of a tenant, over a bus that drops, delays, repeats and cuts: a model, then the rules one by one."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from structlog.testing import capture_logs

from tests.support.broker_rig import ACME, ANN, BOB, JOB, event
from tidings.broker.redis.hearing import Answer, Counts, Hearing, Line
from tidings.domain.channel import Channel
from tidings.domain.event import Published
from tidings.domain.position import NOWHERE, Position

CHANNELS = (ANN, BOB, JOB)
channels = st.sampled_from(CHANNELS)


@dataclass
class Redis:
    """What is true: everything of the present epoch, and how much of it the history still holds."""

    epoch: int = 1
    events: list[Published] = field(default_factory=list)
    gone: int = 0

    @property
    def position(self) -> Position:
        return Position(f"e{self.epoch}", len(self.events))

    def publish(self, channel: Channel) -> Published:
        prev = max((each.position.offset for each in self.of(channel)), default=0)
        position = Position(f"e{self.epoch}", len(self.events) + 1)
        self.events.append(Published(channel, position, prev, event(), 0.0))
        return self.events[-1]

    def of(self, channel: Channel) -> list[Published]:
        return [each for each in self.events if each.channel == channel]

    def begin_anew(self) -> None:
        self.epoch += 1
        self.events.clear()
        self.gone = 0

    def answer(self, wanted: Collection[tuple[Channel, int]]) -> Answer:
        return Answer(self.position, {channel: self._line(channel, after) for channel, after in wanted})

    def _line(self, channel: Channel, after: int) -> Line:
        known = self.of(channel)
        last = known[-1].position.offset if known else 0
        events = [each for each in known if each.position.offset > max(after, self.gone)]
        whole = last <= after or (bool(events) and events[0].prev <= after)
        return Line(last, tuple(events), whole)


class Client:
    """Who is told. It knows what it may expect, and is closed by what is lost: then it expects anything newer.

    Faults are kept, for a call-back that raises is only logged. ``excused`` may be lost: the counter began anew.
    """

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.faults: list[str] = []
        self.told: list[Published] = []
        self.expects: dict[Channel, int] = {}
        self.excused: Counter[Channel] = Counter()
        self.promised = Position("", 0)

    def begin_anew(self) -> None:
        self.expects = dict.fromkeys(self.expects, 0)
        self.excused.update(self.expects.keys())

    def deliver(self, published: Published) -> None:
        position = published.position
        for newest in [self.promised, *(each.position for each in self.told[-1:])]:
            if position.epoch == newest.epoch and position.offset <= newest.offset:
                self.faults.append(f"a double, or disorder: {position} after {newest}")
        missed = [
            each
            for each in self.redis.of(published.channel)
            if position.epoch == each.position.epoch
            and self.expects[published.channel] < each.position.offset < position.offset
        ]
        if missed:
            self.faults.append(f"a gap: {missed} before {position}")
        self.told.append(published)
        self.expects[published.channel] = position.offset

    def lost(self, channel: Channel) -> None:
        told = [each.position for each in self.told if each.channel == channel]
        gone = [
            each
            for each in self.redis.of(channel)
            if each.position.offset <= self.redis.gone and each.position not in told
        ]
        if self.excused[channel]:
            self.excused[channel] -= 1
        elif not gone:
            self.faults.append(f"a needless loss of {channel}")
        self.expects[channel] = self.redis.position.offset


class Bus(RuleBasedStateMachine):
    """Publish, lose and settle in any order. What is in flight arrives in order, if at all."""

    def __init__(self) -> None:
        super().__init__()
        self.redis = Redis()
        self.client = Client(self.redis)
        self.hearing = Hearing(ACME, self.client.deliver, self.client.lost, Counts())
        self.flight: list[Published] = []
        self.dropped = False
        for channel in CHANNELS:
            self.subscribe(channel)

    @rule(channel=channels)
    def subscribe(self, channel: Channel) -> None:
        """Anew, as when the last who heard it has left and another has come."""
        self.hearing.leave(channel)
        self.hearing.enter(channel)
        self.client.expects[channel] = self.redis.position.offset
        self.settle({channel})

    def publish(self, batch: list[Channel]) -> None:
        self.flight += [self.redis.publish(channel) for channel in batch]

    @rule(
        batch=st.lists(channels, min_size=1, max_size=6),
        fates=st.lists(st.sampled_from(["arrives", "arrives", "dropped", "repeated"]), max_size=6),
    )
    def traffic(self, batch: list[Channel], fates: list[str]) -> None:
        """Publish, and see what becomes of the next in flight; the others are delayed."""
        self.publish(batch)
        for fate in fates[: len(self.flight)]:
            self.dropped |= fate == "dropped"
            if fate != "dropped":
                self.hearing.hear(self.flight[0])
            if fate != "repeated":
                del self.flight[0]

    @rule(lose=st.booleans())
    def cut(self, lose: bool) -> None:  # noqa: FBT001 - drawn
        """What was in flight is lost; everything is subscribed anew, and until the next answer nothing is told."""
        self.flight.clear()
        self.hearing.hold()
        if lose:
            self.redis.gone = self.redis.position.offset
        self.settle(set(self.hearing.channels))

    @rule(back=st.integers(0, 2))
    def forget(self, back: int) -> None:
        self.redis.gone = max(self.redis.gone, self.redis.position.offset - back)

    @rule()
    def flush(self) -> None:
        self.redis.begin_anew()
        self.client.begin_anew()

    @rule(flush=st.booleans())
    def audit(self, flush: bool) -> None:  # noqa: FBT001 - drawn
        self.settle(set(), flush=flush)

    @rule()
    def promise(self) -> None:
        """A position is given out, after what the bus had brought by then."""
        answer = self.redis.answer(())
        if self.hearing.epoch is not None and self.hearing.lags(answer):
            self.drain()
            if self.hearing.lacks(answer):
                self.settle(set())
            self.hearing.promise(answer.upto)
            if answer.upto.epoch == self.hearing.epoch:
                self.client.promised = answer.upto

    @invariant()
    def nothing_wrong_is_told(self) -> None:
        assert not self.client.faults

    @invariant()
    def never_left_alone(self) -> None:
        """Who is told that something is missing asks; nothing is held for longer."""
        if not self.hearing.whole:
            self.settle(set())

    def settle(self, entered: set[Channel], *, flush: bool = False) -> None:
        """As the broker does: ask, wait for what the bus brings, settle; again while something is missing."""
        while True:
            if self.hearing.disordered:
                assert self.dropped, "an epoch was ended needlessly"
                self.flush()
            # Two answers, as for many channels, with something published in between.
            wanted = self.hearing.wanting(self.hearing.channels)
            answers = [self.redis.answer(wanted[:1])]
            if flush:
                self.flush()
            self.publish([JOB])
            answers.append(self.redis.answer(wanted[1:]))
            self.drain()
            flush = False
            whole = self.hearing.settle(answers, entered)
            # What was published before a subscription has begun is none of the client's business.
            for channel in entered - {channel for channel, _ in wanted}:
                self.client.expects[channel] = max(self.client.expects[channel], self.redis.position.offset)
            if whole:
                self.dropped = False
                self.client.excused.clear()
                return

    def drain(self) -> None:
        while self.flight:
            self.hearing.hear(self.flight.pop(0))

    def teardown(self) -> None:
        """In the end everyone has been told everything, but for what was said to be lost."""
        self.settle(set())
        for channel in self.hearing.channels:
            newest = [each.position.offset for each in self.redis.of(channel)][-1:]
            assert not newest or self.client.expects[channel] >= newest[0]


BusTest = Bus.TestCase
BusTest.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None, derandomize=True, database=None
)


def published(channel: Channel, offset: int, prev: int, epoch: str = "e") -> Published:
    return Published(channel, Position(epoch, offset), prev, event(), 0.0)


def answer(upto: int, *lines: tuple[Channel, Line], epoch: str = "e") -> Answer:
    return Answer(Position(epoch, upto), dict(lines))


class Told:
    """A hearing of two channels that stand at 0, and what it has told."""

    def __init__(self) -> None:
        self.offsets: list[int] = []
        self.lost: list[Channel] = []
        self.counts = Counts()
        self.hearing = Hearing(
            ACME, lambda each: self.offsets.append(each.position.offset), self.lost.append, self.counts
        )
        for channel in (ANN, BOB):
            self.hearing.enter(channel)
        self.hearing.settle([answer(0)], [ANN, BOB])


@pytest.fixture
def told() -> Told:
    return Told()


class TestGap:
    def test_holds_the_whole_tenant(self, told: Told) -> None:
        """Repaired from history before anything goes on: later events of other channels wait too."""
        assert not told.hearing.hear(published(ANN, 3, 1))
        assert told.hearing.hear(published(BOB, 4, 2))
        assert told.offsets == []

    def test_is_repaired_in_order(self, told: Told) -> None:
        """What was missed is told before what was held, over all channels in the order of the numbers."""
        told.hearing.hear(published(ANN, 3, 1))
        told.hearing.hear(published(BOB, 4, 2))
        ann = Line(3, (published(ANN, 1, 0), published(ANN, 3, 1)), whole=True)
        bob = Line(4, (published(BOB, 2, 0), published(BOB, 4, 2)), whole=True)
        assert told.hearing.settle([answer(4, (ANN, ann), (BOB, bob))], ())
        assert told.offsets == [1, 2, 3, 4]
        assert (told.lost, told.counts.repaired) == ([], 2)

    def test_beyond_what_the_history_holds(self, told: Told) -> None:
        """What history no longer holds cannot be repaired: that channel is lost, the others go on."""
        told.hearing.hear(published(ANN, 3, 1))
        told.hearing.hear(published(BOB, 4, 0))
        ann = Line(3, (published(ANN, 3, 1),), whole=False)
        bob = Line(4, (published(BOB, 4, 0),), whole=True)
        assert told.hearing.settle([answer(4, (ANN, ann), (BOB, bob))], ())
        assert (told.offsets, told.lost) == ([4], [ANN])
        told.hearing.hear(published(ANN, 5, 3))
        assert told.offsets == [4, 5]

    def test_below_what_was_told(self, told: Told) -> None:
        """Telling it now would be disorder: the epoch has to end, and everyone is told so."""
        told.hearing.hear(published(BOB, 2, 0))
        told.hearing.hear(published(ANN, 3, 1))
        ann = Line(3, (published(ANN, 1, 0), published(ANN, 3, 1)), whole=True)
        assert not told.hearing.settle([answer(3, (ANN, ann))], ())
        assert told.hearing.disordered
        assert told.hearing.settle([answer(0, epoch="f")], ())
        assert (told.offsets, told.lost, told.hearing.disordered) == ([2], [ANN, BOB], False)

    def test_below_what_was_promised(self, told: Told) -> None:
        """Somebody who joined at a position is told nothing older afterwards."""
        told.hearing.promise(Position("e", 2))
        assert not told.hearing.hear(published(ANN, 1, 0))
        assert (told.offsets, told.hearing.disordered) == ([], True)


class TestEpoch:
    def test_changes_with_an_event(self, told: Told) -> None:
        """A flush changes the epoch: every channel of the tenant is lost, and the new event told."""
        told.hearing.hear(published(ANN, 1, 0))
        told.hearing.hear(published(BOB, 1, 0, epoch="f"))
        assert (told.offsets, told.lost) == ([1, 1], [ANN, BOB])

    def test_changes_with_an_answer(self, told: Told) -> None:
        """... or with the next audit, if nothing is published."""
        assert told.hearing.settle([answer(7, epoch="f")], ())
        assert told.lost == [ANN, BOB]
        told.hearing.hear(published(ANN, 8, 5, epoch="f"))
        assert told.offsets == [8]

    def test_what_was_held_of_the_old_one(self, told: Told) -> None:
        """... is of the past: whoever hears the channel was told to begin anew."""
        told.hearing.hold()
        told.hearing.hear(published(ANN, 1, 0))
        told.hearing.hear(published(ANN, 1, 0, epoch="f"))
        told.hearing.hear(published(BOB, 2, 0, epoch="f"))
        assert told.hearing.settle([answer(1, epoch="f")], ())
        assert (told.offsets, told.lost) == ([2], [ANN, BOB])

    def test_changes_while_the_history_is_asked(self, told: Told) -> None:
        """What is newer than the answer is left to the next one."""
        told.hearing.hold()
        told.hearing.hear(published(ANN, 1, 0, epoch="f"))
        assert not told.hearing.settle([answer(0)], ())
        assert told.hearing.settle([answer(1, epoch="f")], ())
        assert (told.offsets, told.lost) == ([], [ANN, BOB])

    def test_is_unknown_at_first(self) -> None:
        """The first epoch that is heard of is no change."""
        lost: list[Channel] = []
        hearing = Hearing(ACME, lambda _: None, lost.append, Counts())
        hearing.enter(ANN)
        hearing.hear(published(ANN, 5, 3))
        assert (hearing.epoch, lost) == ("e", [])


class TestWhispers:
    def test_while_events_are_held(self, told: Told) -> None:
        """They wait for nothing, since they stand in no order; of a channel that was left they are ignored."""
        whisper = Published(ANN, NOWHERE, 0, event(), 0.0)
        told.hearing.hold()
        told.hearing.overhear(whisper)
        assert told.offsets == [0]
        told.hearing.leave(ANN)
        told.hearing.overhear(whisper)
        assert told.offsets == [0]


class TestCallBacks:
    def test_that_raise(self) -> None:
        """They must not; if one does, that is logged, and what follows is told all the same."""
        offsets: list[int] = []

        def deliver(each: Published) -> None:
            offsets.append(each.position.offset)
            raise RuntimeError("broken")

        hearing = Hearing(ACME, deliver, lambda _: None, Counts())
        hearing.enter(ANN)
        with capture_logs() as lines:
            hearing.hear(published(ANN, 1, 0))
            hearing.hear(published(ANN, 2, 1))
        assert offsets == [1, 2]
        assert {(line["event"], line["channel"]) for line in lines} == {("deliver_failed", "acme/user/ann")}

    def test_after_leaving(self, told: Told) -> None:
        """What still comes of a channel that was left is ignored."""
        told.hearing.leave(ANN)
        told.hearing.hear(published(ANN, 1, 0))
        told.hearing.hear(published(BOB, 2, 0))
        assert told.offsets == [2]
