"""A Socket.IO connection over WebSocket (RFC 6455): bytes to Engine.IO packets and back.

Framing is ``websockets``' sans-I/O ``Protocol``; what a packet means is ``connection``'s. The fan-out does not
come through here: it writes to the outbox.
"""

import asyncio
import logging
import time
from uuid import UUID

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import OPEN, State
from websockets.server import ServerProtocol

from tidings.domain.audit import Peer
from tidings.domain.errors import CloseReason
from tidings.hub.outbox import Outbox
from tidings.hub.wheel import OFF, Wheel
from tidings.transports.http import Connections, Upgrade
from tidings.transports.socketio.connection import Connection, Terms
from tidings.transports.socketio.engine import open_packet
from tidings.transports.socketio.format import text_frame

_log = logging.getLogger("websockets.server")
_OPEN, _TEXT, _BINARY, _CONT = State.OPEN, Opcode.TEXT, Opcode.BINARY, Opcode.CONT
_NO_ID = UUID(int=0)
"""``websockets`` gives each connection an id for its own log; ours has one already."""
_CLOSE_SECONDS = 1.0
"""How long the peer has to answer a close frame."""


class WebSocket(asyncio.Protocol):
    """The carrier of one connection, from the opening handshake's answer to the end of the transport."""

    __slots__ = (
        "_connection",
        "_connections",
        "_framing",
        "_message",
        "_shut_at",
        "_text",
        "_transport",
        "_wheel",
        "outbox",
        "tick",
    )

    def __init__(self, upgrade: Upgrade, wheel: Wheel, *, limits: tuple[int, int]) -> None:
        max_payload, outbox_bytes = limits
        self.tick = OFF
        self._transport = upgrade.transport
        self._connections: Connections = upgrade.connections
        self._wheel = wheel
        self._framing = ServerProtocol(state=OPEN, max_size=max_payload, logger=_log)
        self._framing.id = _NO_ID
        self._message: bytearray | None = None
        self._text = True
        self._shut_at: float | None = None
        self._connection: Connection | None = None
        self.outbox = Outbox(outbox_bytes)
        self.outbox.attach(upgrade.transport)

    def begin(
        self, answer: bytes, terms: Terms, connection_id: str, peer: Peer, token: str | None
    ) -> Connection:
        """Answer the opening handshake and open the Engine.IO session."""
        self._connection = Connection(terms, self, connection_id, peer, token)
        opening = open_packet(connection_id, terms.ping_interval, terms.ping_timeout, terms.max_payload)
        self.outbox.send(answer + text_frame(opening))
        return self._connection

    # What the transport calls.

    def data_received(self, data: bytes) -> None:
        framing = self._framing
        if framing.eof_sent:
            return
        framing.receive_data(data)
        for event in framing.events_received():
            assert isinstance(event, Frame)
            self._receive(event)
        self._flush()

    def eof_received(self) -> None:
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.outbox.close()
        self._wheel.cancel(self)
        self._connections.discard(self)
        if self._connection is not None:
            close = self._framing.close_rcvd
            self._connection.lost(CloseReason.TRANSPORT_LOST if close is None else CloseReason.CLIENT_CLOSED)
            self._connection = None
        self._framing.parser.close()

    def pause_writing(self) -> None:
        if self._connection is not None and not self._connection.ended:
            self._connection.reschedule()

    def resume_writing(self) -> None:
        self.outbox.writable()

    # What the connection calls.

    def frame(self, packet: bytes) -> bytes:
        return text_frame(packet)

    def read(self, *, on: bool) -> None:
        if self._transport.is_closing():
            return
        if on:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def shut(self, reason: CloseReason) -> None:
        if self._shut_at is not None or self._transport.is_closing():
            return
        congested = self.outbox.congested
        if not congested and self._framing.state is _OPEN:
            self._framing.send_close(reason.websocket, reason.text)
            self._flush()
        self.outbox.close()
        if congested:
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._shut_at = time.monotonic() + _CLOSE_SECONDS
        self._wheel.schedule(self, self._shut_at)

    # What the server and the wheel call.

    def shutdown(self) -> None:
        if self._connection is not None:
            self._connection.close(CloseReason.DRAINING)

    def due(self, now: float) -> float | None:
        if self._shut_at is not None and now < self._shut_at:
            return self._shut_at
        self._transport.abort()
        return None

    def _receive(self, frame: Frame) -> None:
        if frame.opcode in (_TEXT, _BINARY):
            self._text = frame.opcode is _TEXT
            if frame.fin:
                self._deliver(bytes(frame.data))
            else:
                self._message = bytearray(frame.data)
        elif frame.opcode is _CONT and self._message is not None:
            self._message += frame.data
            if frame.fin:
                message, self._message = bytes(self._message), None
                self._deliver(message)

    def _deliver(self, message: bytes) -> None:
        if self._connection is None or self._framing.state is not _OPEN:
            return
        if not self._text:
            self._connection.receive(message)
            return
        try:
            text = message.decode()
        except UnicodeDecodeError:
            self._connection.close(CloseReason.INVALID_DATA)
            return
        self._connection.receive(text)

    def _flush(self) -> None:
        """Send what the framing has to say: pongs, close frames, the end of the stream."""
        for data in self._framing.data_to_send():
            if data:
                if not self.outbox.send(data) and self._connection is not None:
                    self._connection.close(CloseReason.SLOW_CONSUMER)
            else:
                self._end()

    def _end(self) -> None:
        """The closing handshake is over, or cannot be had."""
        if self._connection is not None:
            self._connection.lost(_reason(self._framing))
        self._transport.close()


def _reason(framing: ServerProtocol) -> CloseReason:
    received: Close | None = framing.close_rcvd
    if received is not None:
        return CloseReason.CLIENT_CLOSED
    sent = framing.close_sent
    if sent is None:
        return CloseReason.TRANSPORT_LOST
    by_code = {
        CloseCode.MESSAGE_TOO_BIG: CloseReason.TOO_LARGE,
        CloseCode.INVALID_DATA: CloseReason.INVALID_DATA,
    }
    return by_code.get(CloseCode(sent.code), CloseReason.MALFORMED)
