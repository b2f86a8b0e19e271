"""One Engine.IO connection, whatever carries it: packets in, messages out, and all its deadlines.

A carrier (``Link``) gives it whole packets and sends what it is given; it may be exchanged for another while
the connection lives. What the messages mean is for a subclass: ``conversation`` speaks Socket.IO.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import structlog

from tidings.domain.audit import Peer
from tidings.domain.errors import CloseReason
from tidings.domain.people import Principal
from tidings.hub.outbox import Outbox
from tidings.hub.wheel import OFF, Wheel
from tidings.transports.socketio.engine import (
    MESSAGE_PREFIX,
    PING_PACKET,
    Beat,
    Engine,
    Ping,
    Revision,
    Signal,
    open_packet,
)
from tidings.transports.socketio.format import Framing
from tidings.transports.socketio.packet import ProtocolViolation

_log = structlog.stdlib.get_logger("tidings.socketio")


class Link(Protocol):
    """A carrier of Engine.IO packets."""

    @property
    def outbox(self) -> Outbox: ...

    @property
    def framing(self) -> Framing:
        """How packets become this carrier's bytes."""

    @property
    def transport(self) -> str:
        """Its name in the protocol."""

    @property
    def jammed(self) -> bool:
        """Whether what is sent now would not leave soon."""

    def shut(self, reason: CloseReason) -> None:
        """End the carrier, politely if it still takes bytes."""

    def read(self, *, on: bool) -> None:
        """Go on reading, or stop: the client is ahead of us."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all connections of an endpoint have in common. Times in seconds, sizes in bytes."""

    wheel: Wheel
    ping_interval: float
    ping_timeout: float
    connect_timeout: float
    write_timeout: float
    lifetime: float
    max_payload: int
    outbox_bytes: int


class Visitor(NamedTuple):
    """Who opens a connection, as far as that is known before anybody is authenticated."""

    id: str
    peer: Peer
    token: str | None
    revision: Revision
    ended: Callable[["Connection", CloseReason, Principal | None], None]
    """Called once when the connection has ended."""


class Connection(ABC):
    """Engine.IO state of one client."""

    __slots__ = ("_ends", "_engine", "_link", "_terms", "_visitor", "opened", "tick")

    def __init__(self, terms: Terms, link: Link, visitor: Visitor) -> None:
        now = time.monotonic()
        self.opened = now
        self.tick = OFF
        self._engine = Engine(
            now,
            revision=visitor.revision,
            ping_interval=terms.ping_interval,
            ping_timeout=terms.ping_timeout,
        )
        self._terms = terms
        self._link = link
        self._visitor = visitor
        self._ends = False

    @property
    def id(self) -> str:
        return self._visitor.id

    @property
    def peer(self) -> Peer:
        return self._visitor.peer

    @property
    def token(self) -> str | None:
        return self._visitor.token

    @property
    def revision(self) -> Revision:
        return self._visitor.revision

    @property
    def outbox(self) -> Outbox:
        return self._link.outbox

    @property
    def framing(self) -> Framing:
        return self._link.framing

    @property
    def transport(self) -> str:
        return self._link.transport

    @property
    def ended(self) -> bool:
        return self._ends

    # What the application on it says.

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether nobody has been let in, so that the connection must not stay."""

    @abstractmethod
    def said(self, message: str | bytes) -> None:
        """Take a message. Raises ProtocolViolation."""

    @abstractmethod
    def farewell(self) -> Sequence[bytes]:
        """The messages that tell a client not to come back by itself."""

    @abstractmethod
    def left(self, reason: CloseReason) -> Principal | None:
        """The connection is over; returns whose it was."""

    @abstractmethod
    def greeting(self) -> Sequence[bytes]:
        """The messages that go out together with the opening packet."""

    @abstractmethod
    def carried(self) -> None:
        """Another carrier has taken over; what was queued has gone with it."""

    @abstractmethod
    def deadline(self) -> float:
        """When ``overdue`` has to be asked, in monotonic seconds; infinity for never."""

    @abstractmethod
    def overdue(self, now: float) -> None:
        """A deadline has passed, perhaps this one's."""

    # What carriers and the application call.

    def opening(self, upgrades: tuple[str, ...] = ()) -> bytes:
        """The carrier's first bytes: the opening packet and the greeting. From now on time runs."""
        terms, framing = self._terms, self._link.framing
        packet = open_packet(self.id, terms.ping_interval, terms.ping_timeout, terms.max_payload, upgrades)
        self.reschedule()
        return framing.text(packet) + self._framed(self.greeting())

    def receive(self, frame: str | bytes) -> None:
        """Take one Engine.IO packet."""
        if self._ends:
            return
        try:
            said = self._engine.receive(frame)
            if said is Signal.CLOSE:
                self.close(CloseReason.CLIENT_CLOSED)
            elif isinstance(said, Ping):
                self._write(self._link.framing.text(self._engine.answer(said, time.monotonic())))
            elif not isinstance(said, Signal):
                self.said(said)
        except ProtocolViolation as violation:
            _log.info("protocol violation", clientId=self.id, reason=str(violation), ip=self.peer.ip)
            self.close(violation.reason)

    def send(self, *messages: bytes, attachments: Sequence[bytes] = ()) -> None:
        """Send text messages, and binary ones behind them."""
        if self._ends:
            return
        frames = self._framed(messages)
        if attachments:
            frames += b"".join(map(self._link.framing.binary, attachments))
        self._write(frames)

    def read(self, *, on: bool) -> None:
        """Go on reading from the client, or stop."""
        self._link.read(on=on)

    def carry(self, link: Link) -> None:
        """Go on over another carrier."""
        self._link = link
        self.carried()
        self.reschedule()

    def close(self, reason: CloseReason) -> None:
        """End the connection. A client that must not come back by itself is told so."""
        if self._ends:
            return
        if 200 <= reason.number < 300 and not self._link.jammed:  # noqa: PLR2004  the catalogue's range
            # Behind a replay it would come too late.
            self.outbox.cut()
            self.send(*self.farewell())
        self.lost(reason)
        self._link.shut(reason)

    def lost(self, reason: CloseReason) -> None:
        """The carrier is gone, or about to go."""
        if self._ends:
            return
        self._ends = True
        self._terms.wheel.cancel(self)
        self._visitor.ended(self, reason, self.left(reason))

    def reschedule(self) -> None:
        self._terms.wheel.schedule(self, self._next())

    def due(self, now: float) -> float | None:
        """The wheel's call: see what has come due."""
        if now >= self.opened + self._terms.lifetime:
            self.close(CloseReason.LIFETIME)
        elif self.idle and now >= self.opened + self._terms.connect_timeout:
            self.close(CloseReason.AUTH_TIMEOUT)
        elif self._engine_due(now):
            self.close(CloseReason.PING_TIMEOUT)
        elif self._link.jammed and self.outbox.stalled(now, self._terms.write_timeout):
            self.close(CloseReason.WRITE_STALLED)
        else:
            self.overdue(now)
        return None if self._ends else self._next()

    def _framed(self, messages: Sequence[bytes]) -> bytes:
        text = self._link.framing.text
        return b"".join([text(MESSAGE_PREFIX + message) for message in messages])

    def _write(self, frames: bytes) -> None:
        if not self.outbox.send(frames):
            self.close(CloseReason.SLOW_CONSUMER)

    def _next(self) -> float:
        terms = self._terms
        when = min(self.opened + terms.lifetime, self._engine.next_deadline(), self.deadline())
        if self.idle:
            when = min(when, self.opened + terms.connect_timeout)
        if self._link.jammed:
            when = min(when, time.monotonic() + terms.write_timeout / 4)
        return when

    def _engine_due(self, now: float) -> bool:
        beat = self._engine.due(now)
        if beat is Beat.PING:
            self._write(self._link.framing.text(PING_PACKET))
        return beat is Beat.TIMEOUT
