"""What followed a cursor, whole or not at all, in an order in which no position is ever passed over.

Here is what coming back means on every wire; whom it is granted is not asked here.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby, islice

from tidings import metrics
from tidings.broker.base import Broker
from tidings.domain.channel import GLOBAL_TENANT, Channel, ChannelKind
from tidings.domain.event import Published
from tidings.domain.position import Cursor, Position
from tidings.hub.session import Format

Missed = tuple[tuple[Published, Cursor], ...]
"""Events, each with the cursor at which one stands behind it."""

_PLACE = re.compile(r"([^~]+)(?:~([1-9][0-9]{0,8}))?")
_CHUNK = 64 * 1024
_RUN = 32
"""Events that are kept together at most."""
_SHARED = frozenset({ChannelKind.TENANT, ChannelKind.GLOBAL})


class Outcome(StrEnum):
    """What becomes of an attempt to resume."""

    COMPLETE = "complete"
    UNKNOWN = "unknown"
    """Nobody remembers a session of that ``pid``."""
    FOREIGN = "foreign"
    """It was another user's, or the user's with other rights."""
    POSITION = "position"
    """What was given is no position, or none that can be trusted."""
    HISTORY = "history"
    """Something that was missed is gone, or the counter has begun anew."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a session stands: the cursor up to which it was told everything, and which snapshot it was told last.

    A snapshot takes no number of any counter: by the cursor alone, who has received it cannot be told from who
    stood there before. So a session's snapshots are numbered from 1, and the number follows the cursor on the
    wire: ``CURSOR~2``.
    """

    cursor: Cursor
    snapshot: int = 0

    def __str__(self) -> str:
        return f"{self.cursor}~{self.snapshot}" if self.snapshot else str(self.cursor)

    @classmethod
    def parse(cls, text: str) -> "Place":
        """Read what ``str`` wrote.

        Raises:
            ValueError: the text is no place. Its content is never repeated in the message.
        """
        match = _PLACE.fullmatch(text)
        if match is None:
            raise ValueError("not a place")
        cursor, snapshot = match.groups()
        return cls(Cursor.parse(cursor), int(snapshot or 0))

    def covers(self, other: "Place") -> bool:
        """Whether who stands here has received what was sent at ``other``, if both are of one session."""
        own, everyone = self._ahead_of(other)
        if own is None or everyone is None:
            return False
        return own > 0 or everyone > 0 or (own == everyone == 0 and self.snapshot >= other.snapshot)

    def precedes(self, other: "Place") -> bool:
        """Whether something that was told up to ``other`` had not been told up to here."""
        return any(by is not None and by < 0 for by in self._ahead_of(other))

    def _ahead_of(self, other: "Place") -> tuple[int | None, int | None]:
        """By how many events of the tenant and of everyone; None where a counter began anew in between."""
        pairs = (
            (self.cursor.tenant, other.cursor.tenant),
            (self.cursor.everyone, other.cursor.everyone),
        )
        own, everyone = (
            here.offset - there.offset if here.epoch == there.epoch else None for here, there in pairs
        )
        return own, everyone


async def replay(broker: Broker, channels: Collection[Channel], after: Cursor, now: Cursor) -> Missed | None:
    """What ``channels`` brought after a cursor, up to ``now``, where the session joined.

    None when some of it is gone: the client has to begin from what is stored. What comes behind ``now`` the
    session hears itself: hold and join before, let go of that afterwards, and nothing is missed or seen twice.

    Raises:
        BrokerUnavailable: nothing can be said now.
    """
    own = await _read(broker, [c for c in channels if c.tenant != GLOBAL_TENANT], after.tenant, now.tenant)
    everyone = await _read(
        broker, [c for c in channels if c.tenant == GLOBAL_TENANT], after.everyone, now.everyone
    )
    if own is None or everyone is None:
        return None
    # The tenant's events first, then everyone's: until then a client has not gone on among the latter.
    return (
        *((published, Cursor(published.position, after.everyone)) for published in own),
        *((published, Cursor(now.tenant, published.position)) for published in everyone),
    )


async def latest(broker: Broker, channel: Channel, now: Position) -> Published | None:
    """A channel's newest event up to ``now``, unless it has aged away.

    Raises:
        BrokerUnavailable: nothing can be said now.
    """
    newer = await broker.read([channel], now)
    if not newer.events:
        return newer.latest
    older = await broker.read([channel], Position(now.epoch, newer.events[0].prev - 1))
    return next((event for event in older.events if event.position.offset <= now.offset), None)


def read_cursor(text: str) -> Cursor | None:
    """A client's ``Last-Event-ID``; None for what is no position, which cannot be resumed from."""
    try:
        return Place.parse(text).cursor
    except ValueError:
        return None


def count(outcome: Outcome) -> None:
    """Count an attempt to resume."""
    metrics.resumes.labels(outcome.value).inc()


class Frames:
    """Missed events in final bytes. What goes to many is encoded once for all who come back for it.

    That is done by runs: between two cursors everybody has missed the same of what was for all of a tenant.
    """

    def __init__(self, limit: int = 8 * 1024 * 1024) -> None:
        self._limit = limit
        self._size = 0
        self._known: dict[tuple[Format, str, str, str], bytes] = {}

    def of(self, wire_format: Format, missed: Missed) -> Iterator[bytes]:
        """The frames in order, joined to pieces that one write may take."""
        return _joined(self._runs(wire_format, missed))

    def _runs(self, wire_format: Format, missed: Missed) -> Iterator[bytes]:
        for shared, events in groupby(missed, key=_is_shared):
            while run := tuple(islice(events, _RUN)):
                yield self._shared(wire_format, run) if shared else _encode(wire_format, run)

    def _shared(self, wire_format: Format, run: Missed) -> bytes:
        (first, begin), (_, end) = run[0], run[-1]
        key = (wire_format, first.channel.tenant, str(begin), str(end))
        frames = self._known.get(key)
        if frames is None:
            frames = _encode(wire_format, run)
            self._remember(key, frames)
        return frames

    def _remember(self, key: tuple[Format, str, str, str], frames: bytes) -> None:
        self._size += len(frames)
        if self._size > self._limit:
            self._known.clear()
            self._size = len(frames)
        self._known[key] = frames


def _is_shared(told: tuple[Published, Cursor]) -> bool:
    return told[0].channel.kind in _SHARED


def _encode(wire_format: Format, run: Missed) -> bytes:
    return b"".join([wire_format.encode(published, str(cursor)) for published, cursor in run])


def _joined(runs: Iterable[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for run in runs:
        parts.append(run)
        size += len(run)
        if size >= _CHUNK:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


async def _read(
    broker: Broker, channels: list[Channel], after: Position, now: Position
) -> list[Published] | None:
    if not channels:
        return []
    history = await broker.read(channels, after)
    if not history.complete:
        return None
    return [published for published in history.events if published.position.offset <= now.offset]
