"""One open event stream: it has taken the transport over and is the hub's wire from then on.

It ends when the job does, on a quiet quarter, on a link that takes nothing, when the token expires, when the
client goes, and when the server does. Every way out is ``_gone``, once.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tidings.domain.channel import Channel
from tidings.domain.errors import CloseReason
from tidings.hub.outbox import Outbox
from tidings.hub.session import Session
from tidings.hub.wheel import OFF, Wheel
from tidings.transports.http import TakenOver
from tidings.transports.sse import frame

_AT_ONCE = (CloseReason.SLOW_CONSUMER, CloseReason.WRITE_STALLED, CloseReason.TRANSPORT_LOST)


@dataclass(frozen=True, slots=True)
class StreamTerms:
    """What all streams have in common; times in seconds, sizes in bytes."""

    wheel: Wheel
    heard: Callable[[Session], float]
    """When the session's channels last brought an event, in monotonic seconds; 0 for never."""
    gone: Callable[["Stream", CloseReason], None]
    heartbeat: float
    idle_timeout: float
    write_timeout: float
    outbox_bytes: int


class Stream(asyncio.Protocol):
    """``until`` is when the token ends, in monotonic seconds."""

    __slots__ = ("_beat_at", "_ending", "_opened", "_taken", "_terms", "_until", "outbox", "session", "tick")

    def __init__(self, terms: StreamTerms, until: float) -> None:
        self.tick = OFF
        self.session: Session | None = None
        self._terms = terms
        self._until = until
        self._opened = time.monotonic()
        self._beat_at = self._opened + terms.heartbeat
        self._ending: CloseReason | None = None
        self._taken: TakenOver | None = None
        self.outbox = Outbox(terms.outbox_bytes)

    def begin(self, taken: TakenOver, opening: bytes, missed: Iterator[bytes]) -> None:
        """The transport is ours: answer, tell what was missed, and let deadlines run."""
        self._taken = taken
        self.outbox.attach(taken.transport)
        self.outbox.send(opening)
        self.outbox.replay(missed)
        self._terms.wheel.schedule(self, self._next())

    @property
    def ending(self) -> CloseReason | None:
        """Why the stream ends; it may be told so before it has begun."""
        return self._ending

    # The hub's wire.

    def close(self, reason: CloseReason) -> None:
        """End the stream; what was handed over before is still sent if the link takes it, and to who may hear it."""
        if self._ending is not None:
            return
        self._ending = reason
        if self._taken is None:
            return
        if reason in _AT_ONCE or (self.outbox.congested and 200 <= reason.number < 300):  # noqa: PLR2004  the catalogue's range
            self.outbox.close()
            self._taken.transport.abort()
        elif not self.outbox.congested:
            self.outbox.close()
            self._taken.transport.close()

    def finished(self, channel: Channel) -> None:
        self.close(CloseReason.COMPLETED)

    def tell(self, event: str, data: bytes) -> None:
        """Streams carry channel events alone."""

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        """A client has nothing to say on a stream."""

    def eof_received(self) -> None:
        self.close(CloseReason.CLIENT_CLOSED)

    def connection_lost(self, exc: Exception | None) -> None:
        taken, self._taken = self._taken, None
        if taken is None:
            return
        taken.connections.discard(self)
        self._terms.wheel.cancel(self)
        self.outbox.close()
        self._terms.gone(self, self._ending or CloseReason.CLIENT_CLOSED)

    def pause_writing(self) -> None:
        self._terms.wheel.schedule(self, self._next())

    def resume_writing(self) -> None:
        self.outbox.writable()
        if self._ending is not None and not self.outbox.congested and self._taken is not None:
            self._taken.transport.close()

    # What the server and the wheel call.

    def shutdown(self) -> None:
        self.close(CloseReason.DRAINING)

    def due(self, now: float) -> float | None:
        if self._taken is None:
            return None
        if self.outbox.stalled(now, self._terms.write_timeout):
            self._ending = None
            self.close(CloseReason.WRITE_STALLED)
        elif now >= self._until:
            self.close(CloseReason.TOKEN_EXPIRED)
        elif now >= self._quiet_at():
            self.close(CloseReason.IDLE)
        elif now >= self._beat_at and self._ending is None:
            self._beat_at = now + self._terms.heartbeat
            self.outbox.send(frame.HEARTBEAT)
        return self._next()

    def _quiet_at(self) -> float:
        heard = 0.0 if self.session is None else self._terms.heard(self.session)
        return max(self._opened, heard) + self._terms.idle_timeout

    def _next(self) -> float:
        if self._ending is not None:
            return time.monotonic() + self._terms.write_timeout / 4
        deadlines = [self._beat_at, self._until, self._quiet_at()]
        if self.outbox.congested:
            deadlines.append(time.monotonic() + self._terms.write_timeout / 4)
        return min(deadlines)
