"""What travels: an event, and the form it takes once the broker has numbered it."""

from dataclasses import dataclass
from enum import StrEnum

from tidings.domain.channel import Channel
from tidings.domain.position import Position


class EventClass(StrEnum):
    """What may happen to an event that a slow link has not taken yet.

    ``PROGRESS`` may be replaced by a newer one of the same channel. ``STATE``, ``FINAL`` and ``INBOX`` are
    never dropped: when they do not fit, the session is closed with a reason and recovers from history.
    ``FINAL`` is a state after which its channel is over.
    """

    PROGRESS = "progress"
    STATE = "state"
    FINAL = "final"
    INBOX = "inbox"


@dataclass(frozen=True, slots=True)
class Event:
    """``name`` is the Socket.IO event name; ``data`` is its one argument as UTF-8 JSON, encoded once.

    ``key`` makes publishing idempotent: the same key on the same tenant is published once. Empty: no check.
    """

    name: str
    data: bytes
    klass: EventClass
    key: str = ""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Published:
    """An event with its place: its ``position`` and ``prev``, the offset of the event before it on its channel.

    ``prev`` is 0 for a channel's first event; of a channel that the broker has forgotten it is a number that
    no earlier event of the channel is above. Who has seen everything up to ``prev`` has missed nothing.
    """

    channel: Channel
    position: Position
    prev: int
    event: Event
    published_at: float
