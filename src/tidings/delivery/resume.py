"""What followed a cursor, whole or not at all, in an order in which no position is ever passed over."""

from collections.abc import Collection
from dataclasses import dataclass

from tidings import metrics
from tidings.broker.base import Broker, History
from tidings.domain.channel import GLOBAL_TENANT, Channel
from tidings.domain.event import Published
from tidings.domain.position import Cursor, Position


@dataclass(frozen=True, slots=True)
class Replay:
    """``events`` come with the cursor at which one stands after each; ``upto`` is where one stands after all.

    When ``complete`` is False there are none, and the client has to begin from what is stored.
    """

    events: tuple[tuple[Published, Cursor], ...]
    upto: Cursor
    complete: bool
    latest: Published | None


async def replay(broker: Broker, channels: Collection[Channel], after: Cursor, now: Cursor) -> Replay:
    """Read what ``channels`` brought after a cursor. ``now`` is where the session joined, later than ``after``.

    Subscribe and hold before, release at ``upto`` behind it, and nothing is missed or seen twice.

    Raises:
        BrokerUnavailable: nothing can be said now.
    """
    own = await _read(broker, [c for c in channels if c.tenant != GLOBAL_TENANT], after.tenant, now.tenant)
    everyone = await _read(
        broker, [c for c in channels if c.tenant == GLOBAL_TENANT], after.everyone, now.everyone
    )
    upto = Cursor(own.upto, everyone.upto)
    if not (own.complete and everyone.complete):
        return Replay((), upto, complete=False, latest=own.latest)
    # The tenant's events first, then everyone's: until then a client has not gone on among the latter.
    events = (
        *((published, Cursor(published.position, after.everyone)) for published in own.events),
        *((published, Cursor(own.upto, published.position)) for published in everyone.events),
    )
    return Replay(events, upto, complete=True, latest=own.latest)


def read_cursor(text: str) -> Cursor | None:
    """A client's ``Last-Event-ID`` or ``offset``; None for what is no cursor, which cannot be resumed from."""
    try:
        return Cursor.parse(text)
    except ValueError:
        return None


def count(*, resumed: bool) -> None:
    """Count an attempt to resume."""
    metrics.resumes.labels("complete" if resumed else "refused").inc()


async def _read(broker: Broker, channels: list[Channel], after: Position, now: Position) -> History:
    if not channels:
        return History((), now, complete=True)
    return await broker.read(channels, after)
