"""What this node hears of one tenant, put in order before it goes on: no gap, no double, no disorder.

A bus may drop, delay and cut. Each event says by ``prev`` what came before it on its channel, so a gap shows
with the next event at the latest. From then on everything of the tenant is held; whoever owns this object
asks the history (``wanting``) and settles with the answer, and what was missed is told before what was held.

What cannot be made good is said honestly. When something is gone from the history, its channel is ``lost``.
When the epoch has changed, every channel is. When something was missed *below* what has been told already
(which takes a bus that drops single messages), telling it now would be disorder, and nobody who has passed
it can be found: the epoch is ``disordered`` and has to be ended, which refuses everyone's older position.

It does no I/O, knows no time, and is never wrong about a bus that repeats.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from tidings.broker.base import Deliver, Lost
from tidings.domain.channel import Channel
from tidings.domain.event import Published
from tidings.domain.people import TenantId
from tidings.domain.position import Position

_ANY = -1
"""In place of a channel's last number while its subscription begins: whatever comes may be told."""

T = TypeVar("T")

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.broker")


@dataclass(frozen=True, slots=True)
class Line:
    """What a history says of a channel: its last number, and the events after the number that was given.

    ``whole``: they are all that followed.
    """

    last: int
    events: tuple[Published, ...]
    whole: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """Where a tenant stood at one moment, and what was asked of its channels at that moment."""

    upto: Position
    lines: Mapping[Channel, Line]
    latest: Published | None = None


@dataclass(slots=True)
class Counts:
    """What happened since the start, for the metrics.

    ``connects``: how often a server was reached. ``repaired``: events that were read from the history because
    the bus had not brought them. ``lost``: how often a channel was. ``disorders``: epochs that had to be ended.
    ``unheard``: whispers that no server took.
    """

    connects: int = 0
    repaired: int = 0
    lost: int = 0
    disorders: int = 0
    unheard: int = 0


class Hearing:
    """The channels of one tenant that this node is subscribed to, and how far each has been told."""

    def __init__(self, tenant: TenantId, deliver: Deliver, lost: Lost, counts: Counts) -> None:
        self.tenant = tenant
        self.epoch: str | None = None
        self.disordered = False
        self._deliver = deliver
        self._lost = lost
        self._counts = counts
        self._seen: dict[Channel, int] = {}
        self._held: list[Published] | None = None
        # Nothing up to this number can be told any more: a later one was, or somebody was promised that all were.
        self._passed = 0

    @property
    def channels(self) -> Collection[Channel]:
        return self._seen.keys()

    @property
    def whole(self) -> bool:
        """Whether nothing is held, so that what arrives is told at once."""
        return self._held is None

    def enter(self, channel: Channel) -> None:
        """Its subscription begins. It is ``settled`` once an answer was given that is later than that."""
        self._seen[channel] = _ANY

    def leave(self, channel: Channel) -> None:
        """Whatever still comes of it is ignored."""
        self._seen.pop(channel, None)

    def settled(self, channel: Channel) -> bool:
        return self._seen.get(channel, _ANY) != _ANY

    def wanting(self, channels: Collection[Channel]) -> list[tuple[Channel, int]]:
        """What to ask the history about these channels: each with the number after which events are missing."""
        numbers = ((channel, self._seen.get(channel, _ANY)) for channel in channels)
        return [(channel, seen) for channel, seen in numbers if seen != _ANY]

    def hold(self) -> None:
        """The bus was cut: keep what arrives until an answer has settled what was missed."""
        self._held = []

    def hear(self, published: Published) -> bool:
        """Take an event from the bus. False: from now on events are held, so ask the history and settle."""
        if self._held is not None:
            self._held.append(published)
            return True
        if self._take(published):
            return True
        self._held = [published]
        return False

    def overhear(self, published: Published) -> None:
        """Take what has no number and so no order."""
        if published.channel in self._seen:
            _call(self._deliver, published, published.channel)

    def lags(self, answer: Answer) -> bool:
        """Whether an answer may say more than has been told."""
        return self._held is not None or answer.upto.epoch != self.epoch or answer.upto.offset > self._passed

    def lacks(self, answer: Answer) -> bool:
        """Whether it says more, when everything that the bus had brought by then has been heard."""
        if self._held is not None or answer.upto.epoch != self.epoch:
            return True
        return any(
            self.settled(channel) and line.last > self._seen[channel]
            for channel, line in answer.lines.items()
        )

    def promise(self, upto: Position) -> None:
        """Somebody is told that everything up to here has been told: nothing older may come later."""
        if self._held is None and upto.epoch == self.epoch:
            self._passed = max(self._passed, upto.offset)

    def settle(self, answers: Sequence[Answer], entered: Collection[Channel]) -> bool:
        """Tell what was missed, then what was held. ``answers``: one or more, to what ``wanting`` said.

        Everything that the bus brought before the last answer was given has been heard by now, and the
        subscriptions of ``entered`` had begun; those that nothing was asked about begin where the tenant stood.
        False: something is missing again, ask anew.
        """
        upto = answers[-1].upto
        old, held, self._held = self.epoch, self._held or [], None
        if upto.epoch != old:
            self._begin(upto.epoch, upto.offset)
        current = [published for published in held if published.position.epoch == upto.epoch]
        # What is of neither epoch was heard before the answer or is newer than it: the next answer will tell.
        certain = all(published.position.epoch in (old, upto.epoch) for published in held)
        asked = {channel for answer in answers for channel in answer.lines}
        for channel in entered:
            if channel in self._seen and channel not in asked:
                self._seen[channel] = max(self._seen[channel], upto.offset)
        sound = [answer for answer in answers if answer.upto.epoch == upto.epoch]
        missed = self._missed(sound)
        self._counts.repaired += len(set(missed).difference(current))
        if self._tell({each.position.offset: each for each in (*missed, *current)}):
            self._agree(sound)
        return certain and self._held is None

    def _missed(self, answers: Sequence[Answer]) -> list[Published]:
        """The events of the answers; what they cannot give is lost."""
        missed: list[Published] = []
        for answer in answers:
            for channel, line in answer.lines.items():
                if not self.settled(channel) or line.last <= self._seen[channel]:
                    continue
                # Counted from what has been told by now, which may be more than when it was asked.
                rest = [each for each in line.events if each.position.offset > self._seen[channel]]
                if rest and rest[0].prev <= self._seen[channel]:
                    missed += rest
                else:
                    _log.warning("history_gone", channel=channel.key)
                    self._seen[channel] = answer.upto.offset
                    self._lose(channel)
        return missed

    def _tell(self, events: Mapping[int, Published]) -> bool:
        """Take events in the order of their numbers; from the first before which something is missing, hold them."""
        queue = [events[offset] for offset in sorted(events)]
        for number, published in enumerate(queue):
            if not self._take(published):
                self._held = queue[number:]
                return False
        return True

    def _agree(self, answers: Sequence[Answer]) -> None:
        """Nothing is missing up to where the tenant stood at each answer."""
        for answer in answers:
            for channel in answer.lines:
                if self.settled(channel):
                    self._seen[channel] = max(self._seen[channel], answer.upto.offset)

    def _take(self, published: Published) -> bool:
        """Tell one event, unless it has been. False: something before it has not been."""
        channel, position = published.channel, published.position
        if channel not in self._seen:
            return True
        if position.epoch != self.epoch:
            self._begin(position.epoch, position.offset - 1)
        seen = self._seen[channel]
        if position.offset <= seen:
            return True
        if seen != _ANY and published.prev > seen:
            return False
        if position.offset <= self._passed:
            if seen != _ANY and not self.disordered:
                _log.error("epoch_disordered", channel=channel.key)
                self.disordered = True
                self._counts.disorders += 1
            return seen == _ANY
        self._seen[channel] = self._passed = position.offset
        _call(self._deliver, published, channel)
        return True

    def _begin(self, epoch: str, offset: int) -> None:
        """The counter has begun anew: what was told is of the past, and what was missed nobody knows."""
        self.epoch, self._passed, self.disordered = epoch, offset, False
        heard = [channel for channel, seen in self._seen.items() if seen != _ANY]
        if heard:
            _log.warning("epoch_changed", tenant=self.tenant, channels=len(heard))
        for channel in heard:
            self._seen[channel] = offset
            self._lose(channel)

    def _lose(self, channel: Channel) -> None:
        self._counts.lost += 1
        _call(self._lost, channel, channel)


def _call(call: Callable[[T], None], about: T, channel: Channel) -> None:
    try:
        call(about)
    except Exception:  # noqa: BLE001 - what follows is to be told all the same
        _log.exception("deliver_failed", channel=channel.key)
