"""The broker's interface and what every implementation guarantees.

Guarantees, checked by one contract test on each implementation:

1. *Numbered.* Each tenant has one epoch and one counter. ``publish`` gives an event the counter's next
   number and ``prev``, the number of the event before it on the same channel (0 for the first).
2. *Atomic.* Numbering, appending to the channel's history and handing to subscribers is one step. An event
   with a ``key`` that its tenant has seen within a day in the same epoch (and among its latest keys, whose
   number is bounded) is not published again, whatever the history still holds; the position of the first is
   returned.
3. *Ordered.* A node's ``deliver`` is called once per event in the order of a tenant's numbers. Between
   tenants there is no order.
4. *Subscribed means hearing.* What is published to a channel after ``subscribe`` has returned is delivered
   until ``unsubscribe`` of the same count.
5. *Bounded.* A channel's history holds at most so many events of at most so many seconds.
6. *Whole or refused.* ``read`` gives everything after a position on the given channels, or says that it
   cannot. Never a part.
7. *Honest.* When the counter has to begin anew, the epoch changes, and every older position is refused.
8. *No read ahead.* What ``read`` or ``position`` has returned of a subscribed channel was handed to
   ``deliver`` before it returned, so that who joins there is told nothing twice.
9. *Whispers leave no trace.* What is whispered is delivered to those who hear the channel at that moment, if it
   gets there. It has no number and moves nobody's position, and no history holds it.

What it does not do: it stores nothing durably, and knows neither sessions nor wire formats.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from tidings.domain.channel import Channel
from tidings.domain.event import Event, Published
from tidings.domain.people import TenantId
from tidings.domain.position import Position

Deliver = Callable[[Published], None]
"""Called on the event loop for each event of a subscribed channel. Must not block and must not raise."""

Lost = Callable[[Channel], None]
"""Called on the event loop when something of a subscribed channel was missed that nobody has any more, or the
epoch has changed: who hears the channel has to begin anew. Must not block and must not raise."""


class BrokerUnavailable(Exception):
    """The broker cannot be reached now, or has not answered: what was asked for may or may not have been done."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of each channel's history."""

    events: int = 1000
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class History:
    """What followed a position, in the order of the tenant's numbers.

    ``upto`` is where the tenant's counter stood when it was read. When ``complete`` is False, something
    that was asked for is gone (or the epoch is another), and ``events`` is empty. ``latest`` is the newest
    event that is still known of these channels, complete or not, before ``after`` or behind it.
    """

    events: tuple[Published, ...]
    upto: Position
    complete: bool
    latest: Published | None = None


class Broker(Protocol):
    async def start(self, deliver: Deliver, lost: Lost = ...) -> None:
        """Connect. ``deliver`` and ``lost`` are called from now on."""

    async def close(self) -> None:
        """Stop delivering and let go of every connection."""

    async def publish(self, batch: Sequence[tuple[Channel, Event]]) -> list[Position]:
        """Publish in the order given; the positions come back in the same order.

        Raises:
            BrokerUnavailable: not started, closed or out of reach. How much of the batch was published is not
                known: publish it again with the same keys.
        """

    def whisper(self, channel: Channel, event: Event) -> None:
        """Tell whoever hears the channel, at once, what nobody may depend on: its ``position`` is no event's.

        It does not fail when the broker is out of reach: then nobody heard it. A channel is published to or whispered on, not both.
        """

    async def subscribe(self, channels: Collection[Channel]) -> None:
        """Hear these channels. Counted: each call that returns needs its ``unsubscribe``.

        Raises:
            BrokerUnavailable: that could not be begun; nothing is counted.
        """

    async def unsubscribe(self, channels: Collection[Channel]) -> None:
        """Take back one ``subscribe`` of each."""

    async def position(self, tenant: TenantId) -> Position:
        """Where the tenant's counter stands: the number of its latest event, 0 before the first.

        Raises:
            BrokerUnavailable: nobody knows now.
        """

    async def read(self, channels: Collection[Channel], after: Position) -> History:
        """Everything after ``after`` on these channels.

        Raises:
            ValueError: the channels are not those of exactly one tenant.
            BrokerUnavailable: nobody knows now.
        """

    def healthy(self) -> bool:
        """Whether publishing and hearing are believed to work."""
