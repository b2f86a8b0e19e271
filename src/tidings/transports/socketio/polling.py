"""A Socket.IO connection over HTTP long-polling: the client's pending GET is the transport.

The outbox writes to it as to any other transport. While a GET is pending, what is written answers it at once;
while there is none, the transport is full, and the outbox keeps what comes, within its bounds. POSTs bring the
client's packets. A client that polls no more is found by its missing pong.

Source: the Engine.IO protocol document, "HTTP long-polling" and "Upgrade".
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import structlog

from tidings import metrics
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.hub.outbox import Outbox
from tidings.hub.wheel import OFF, Wheel
from tidings.transports.exchange import Reply
from tidings.transports.socketio import payload
from tidings.transports.socketio.connection import Connection
from tidings.transports.socketio.engine import CLOSE_PACKET, NOOP_PACKET, PROBE_ANSWER, Revision, Signal
from tidings.transports.socketio.engine import Probe as ProbeRules
from tidings.transports.socketio.format import POLLING, WEBSOCKET, Framing, reframe
from tidings.transports.socketio.packet import MalformedPacket, ProtocolViolation
from tidings.transports.socketio.websocket import WebSocket

Headers = Sequence[tuple[bytes, bytes]]

TRANSPORT: Final = "polling"
MAX_PACKETS: Final = 1024
"""Packets in one POST."""

_TEXT_TYPE = (b"content-type", b"text/plain; charset=UTF-8")
_ACCEPTED = b"ok"
_LINGER_SECONDS = 1.0
"""How long what was said last waits to be fetched."""
_NOOP_SECONDS = 0.1
"""How long a poll may stay open while the client wants to leave for a WebSocket."""
_PROBE_SECONDS = 10.0

_log = structlog.stdlib.get_logger("tidings.socketio")


class Polling(asyncio.WriteTransport):
    """The carrier of one connection, from its first GET to its end or its upgrade."""

    __slots__ = (
        "_cors",
        "_done",
        "_ended_by",
        "_last",
        "_paused",
        "_poll",
        "_post",
        "_probe",
        "_revision",
        "_sid",
        "_wheel",
        "connection",
        "outbox",
        "tick",
    )

    transport: Final = TRANSPORT
    jammed: Final = False

    def __init__(
        self, revision: Revision, wheel: Wheel, outbox_bytes: int, done: Callable[["Polling"], None]
    ) -> None:
        self.tick = OFF
        self.connection: Connection | None = None
        self._revision = revision
        self._wheel = wheel
        self._done = done
        self._poll: Reply | None = None
        self._cors: Headers = ()
        self._post: tuple[Reply, Headers] | None = None
        self._paused = False
        self._probe: Probe | None = None
        self._ended_by: CloseReason | None = None
        self._last = b""
        self._sid = ""
        self.outbox = Outbox(outbox_bytes)
        self.outbox.attach(self)

    @property
    def framing(self) -> Framing:
        return POLLING[self._revision]

    @property
    def revision(self) -> Revision:
        return self._revision

    @property
    def sid(self) -> str:
        return self._sid

    @property
    def probing(self) -> bool:
        """Whether a WebSocket offers to take over."""
        return self._probe is not None

    @property
    def over(self) -> bool:
        """Whether the connection has ended with it."""
        return self._ended_by is not None

    def begin(self, connection: Connection, reply: Reply, cors: Headers, upgrades: tuple[str, ...]) -> None:
        """Open the connection; its first bytes answer the request that asked for it."""
        self.connection = connection
        self._sid = connection.id
        self._poll, self._cors = reply, cors
        self.outbox.send(connection.opening(upgrades))

    # What the client asks for.

    def poll(self, reply: Reply, cors: Headers) -> None:
        """A GET: to be answered with what waits, or later."""
        if self._ended_by is not None:
            self._answer(reply, cors, self._last)
            self._give_up_probe(self._ended_by)
            self._forget()
        elif self._poll is not None:
            reply.refuse(TidingsError(ErrorCode.MALFORMED, detail="second poll"), cors)
            self._close(CloseReason.MALFORMED)
        else:
            self._poll, self._cors = reply, cors
            reply.lost = self._lost
            self.outbox.writable()
            if self._probe is not None and self._poll is not None:
                self._wheel.schedule(self, time.monotonic() + _NOOP_SECONDS)

    def post(self, reply: Reply, cors: Headers, body: bytes, *, binary: bool) -> None:
        """A POST: packets of the client."""
        if self._post is not None:
            reply.refuse(TidingsError(ErrorCode.MALFORMED, detail="second post"), cors)
            self._close(CloseReason.MALFORMED)
            return
        try:
            packets = payload.decode(body, self._revision, binary=binary, max_packets=MAX_PACKETS)
        except MalformedPacket as fault:
            _log.info("protocol violation", clientId=self._sid, reason=str(fault))
            self._close(CloseReason.MALFORMED)
            packets = []
        for packet in packets:
            if self.connection is None or self.connection.ended:
                break
            self.connection.receive(packet)
        if self._ended_by is not None and _broken(self._ended_by):
            reply.refuse(TidingsError(ErrorCode.MALFORMED, detail=self._ended_by.text), cors)
        elif self._paused and self._ended_by is None:
            self._post = reply, cors
            reply.lost = self._lost
        else:
            self._accept(reply, cors)

    def oversize(self) -> None:
        """A POST is larger than any packet may be."""
        self._close(CloseReason.TOO_LARGE)

    # What a WebSocket asks for that wants to take over.

    def probe(self, websocket: WebSocket) -> "Probe":
        """Raises TidingsError: MALFORMED, it is too late."""
        if self._ended_by is not None:
            raise TidingsError(ErrorCode.MALFORMED, detail="upgrade of a session that has ended")
        self._probe = Probe(self, websocket, self._wheel)
        return self._probe

    def probed(self) -> None:
        """The WebSocket works: end the poll, so that the client can stop polling."""
        self._noop()

    def probe_ended(self) -> None:
        self._probe = None

    def hand_over(self, websocket: WebSocket) -> None:
        """Go on over the WebSocket; what waits goes with it, and if the connection has ended meanwhile its end."""
        self._probe = None
        if self._ended_by is not None:
            websocket.outbox.send(self._reframed(self._last))
            websocket.shut(self._ended_by)
            self._forget()
            return
        connection = self.connection
        assert connection is not None
        self._noop()
        self._resume_post()
        websocket.adopt(connection, self.outbox, self._reframed)
        self._forget()
        connection.carry(websocket)
        if self._paused:
            websocket.read(on=False)

    # What the connection calls.

    def read(self, *, on: bool) -> None:
        """A client that is ahead of us gets the answer to its POST late."""
        self._paused = not on
        if on:
            self._resume_post()

    def shut(self, reason: CloseReason) -> None:
        if self._ended_by is not None:
            return
        self._ended_by = reason
        # A client that closes by itself is answered with nothing to do.
        goodbye = NOOP_PACKET if reason is CloseReason.CLIENT_CLOSED else CLOSE_PACKET
        last = self.outbox.take() + self.framing.text(goodbye)
        self.outbox.close()
        self._resume_post()
        if self._poll is not None:
            self._give_up_probe(reason)
            self._respond(last)
            self._forget()
        elif _broken(reason):
            self._give_up_probe(reason)
            self._forget()
        else:
            # A client that is about to upgrade polls no more: whichever comes first, poll or upgrade, gets it.
            self._last = last
            if reason is CloseReason.CLIENT_CLOSED:
                self._give_up_probe(reason)
            self._wheel.cancel(self)
            self._wheel.schedule(self, time.monotonic() + _LINGER_SECONDS)

    def due(self, now: float) -> float | None:
        """The wheel's call."""
        if self._ended_by is not None:
            self._give_up_probe(self._ended_by)
            self._forget()
        elif self._probe is not None:
            self._noop()
        return None

    # What the outbox calls.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._respond(bytes(data))

    def get_write_buffer_size(self) -> int:
        """Nothing is kept here: without a pending poll not one byte can be taken."""
        return 0 if self._poll is not None else 1

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """There is no socket of its own."""
        return default

    def abort(self) -> None:
        self._close(CloseReason.TRANSPORT_LOST)

    # The parts.

    def _respond(self, data: bytes) -> None:
        reply, self._poll = self._poll, None
        if reply is not None:
            self._answer(reply, self._cors, data)

    def _answer(self, reply: Reply, cors: Headers, packets: bytes) -> None:
        reply.lost = None
        reply.answer(200, (_TEXT_TYPE, *cors), POLLING[self._revision].body(packets))

    @staticmethod
    def _accept(reply: Reply, cors: Headers) -> None:
        reply.lost = None
        reply.answer(200, (_TEXT_TYPE, *cors), _ACCEPTED)

    def _noop(self) -> None:
        """End the poll. By way of the outbox, which has to know that the transport is full from here on."""
        if self._poll is not None:
            self.outbox.send(self.framing.text(NOOP_PACKET))

    def _give_up_probe(self, reason: CloseReason) -> None:
        if self._probe is not None:
            self._probe.close(reason)

    def _resume_post(self) -> None:
        if self._post is not None:
            (reply, cors), self._post = self._post, None
            self._accept(reply, cors)

    def _lost(self) -> None:
        """The client has gone in the middle of a poll, or of a post."""
        self._poll = self._post = None
        self._close(CloseReason.TRANSPORT_LOST)

    def _close(self, reason: CloseReason) -> None:
        if self.connection is not None:
            self.connection.close(reason)

    def _reframed(self, data: bytes) -> bytes:
        """Packets that wait in this carrier's bytes, in those of a WebSocket."""
        return reframe(data, POLLING[self._revision], WEBSOCKET[self._revision])

    def _forget(self) -> None:
        self._wheel.cancel(self)
        self.connection = None
        self._done(self)


def _broken(reason: CloseReason) -> bool:
    """Whether the client broke the rules: nobody there is to be told anything."""
    return 100 <= reason.number < 200  # noqa: PLR2004  the catalogue's range


class Probe:
    """A WebSocket that offers to carry a connection which still polls."""

    __slots__ = ("_polling", "_rules", "_websocket", "_wheel", "tick")

    def __init__(self, polling: Polling, websocket: WebSocket, wheel: Wheel) -> None:
        self.tick = OFF
        self._polling: Polling | None = polling
        self._websocket = websocket
        self._rules = ProbeRules()
        self._wheel = wheel
        wheel.schedule(self, time.monotonic() + _PROBE_SECONDS)

    @property
    def ended(self) -> bool:
        return self._polling is None

    def receive(self, frame: str | bytes) -> None:
        """Take one Engine.IO packet."""
        if self._polling is None:
            return
        try:
            said = self._rules.receive(frame)
        except ProtocolViolation as violation:
            _log.info("protocol violation", clientId=self._polling.sid, reason=str(violation))
            self.close(violation.reason)
            return
        if said is Signal.PROBE:
            self._websocket.outbox.send(self._websocket.framing.text(PROBE_ANSWER))
            self._polling.probed()
        else:
            polling, self._polling = self._polling, None
            self._wheel.cancel(self)
            polling.hand_over(self._websocket)

    def close(self, reason: CloseReason) -> None:
        """Give up; the connection goes on polling."""
        metrics.connections_failed.labels(self._websocket.transport, reason.name).inc()
        _log.info("upgrade given up", reason=reason.text)
        self.lost(reason)
        self._websocket.shut(reason)

    def lost(self, reason: CloseReason) -> None:
        """The WebSocket is gone."""
        polling, self._polling = self._polling, None
        self._wheel.cancel(self)
        if polling is not None:
            polling.probe_ended()

    def reschedule(self) -> None:
        """A frame waits to be sent: the probe's own deadline is near enough."""

    def due(self, now: float) -> float | None:
        """The wheel's call."""
        self.close(CloseReason.IDLE)
        return None
