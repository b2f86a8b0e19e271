"""One WebSocket (RFC 6455): bytes to messages and back, from the handshake's answer to the end.

Framing is ``websockets``' sans-I/O ``Protocol``; what a message means is its receiver's. The fan-out does not
come through here: it writes to the outbox.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final, Protocol
from uuid import UUID

from websockets.frames import Close, CloseCode, Frame, Opcode
from websockets.protocol import SERVER, State
from websockets.protocol import Protocol as Frames

from tidings.domain.errors import CloseReason
from tidings.hub.outbox import Outbox
from tidings.hub.wheel import OFF, Wheel
from tidings.transports.exchange import Connections, Upgrade
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.format import WEBSOCKET, Framing

TRANSPORT: Final = "websocket"

_log = logging.getLogger("websockets.server")
_OPEN, _TEXT, _BINARY, _CONT = State.OPEN, Opcode.TEXT, Opcode.BINARY, Opcode.CONT
_NO_ID = UUID(int=0)
"""``websockets`` gives each connection an id for its own log; ours has one already."""
_CLOSE_SECONDS = 1.0
"""How long the peer has to answer a close frame."""


class Receiver(Protocol):
    """What whole messages go to. A connection is one."""

    @property
    def ended(self) -> bool: ...

    def receive(self, frame: str | bytes) -> None:
        """A message, text or binary."""

    def close(self, reason: CloseReason) -> None:
        """The peer broke the rules, or cannot keep up: end it all."""

    def lost(self, reason: CloseReason) -> None:
        """The transport is gone, or about to go."""

    def reschedule(self) -> None:
        """Bytes wait for the link: it has to be watched."""


class WebSocket(asyncio.Protocol):
    """The carrier of one connection, from the opening handshake's answer to the end of the transport."""

    __slots__ = (
        "_connections",
        "_framing",
        "_message",
        "_receiver",
        "_revision",
        "_shut_at",
        "_text",
        "_transport",
        "_wheel",
        "outbox",
        "tick",
    )

    transport: Final = TRANSPORT

    def __init__(
        self, upgrade: Upgrade, wheel: Wheel, *, revision: Revision, max_payload: int, outbox_bytes: int
    ) -> None:
        self.tick = OFF
        self._transport = upgrade.transport
        self._connections: Connections = upgrade.connections
        self._wheel = wheel
        self._revision = revision
        self._framing = Frames(SERVER, max_size=max_payload, logger=_log)
        self._framing.id = _NO_ID
        self._message: bytearray | None = None
        self._text = True
        self._shut_at: float | None = None
        self._receiver: Receiver | None = None
        self.outbox = Outbox(outbox_bytes)
        self.outbox.attach(upgrade.transport)

    def begin(self, receiver: Receiver, first: bytes, rest: bytes) -> None:
        """Send the opening handshake's answer with what follows it at once; ``rest`` has come already."""
        self._receiver = receiver
        self.outbox.send(first)
        if rest:
            asyncio.get_running_loop().call_soon(self.data_received, rest)

    def adopt(self, receiver: Receiver, outbox: Outbox, convert: Callable[[bytes], bytes]) -> None:
        """Carry a connection that began elsewhere; what waits in its outbox is sent on."""
        self._receiver = receiver
        self.outbox = outbox
        outbox.move(self._transport, convert)

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
        if self._receiver is not None:
            close = self._framing.close_rcvd
            self._receiver.lost(CloseReason.TRANSPORT_LOST if close is None else CloseReason.CLIENT_CLOSED)
            self._receiver = None
        self._framing.parser.close()

    def pause_writing(self) -> None:
        if self._receiver is not None and not self._receiver.ended:
            self._receiver.reschedule()

    def resume_writing(self) -> None:
        self.outbox.writable()

    # What the connection calls.

    @property
    def framing(self) -> Framing:
        return WEBSOCKET[self._revision]

    @property
    def jammed(self) -> bool:
        return self.outbox.congested

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
        if self._receiver is not None:
            self._receiver.close(CloseReason.DRAINING)

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
        # What came before the peer's close frame counts, though the framing has read on to it.
        if self._receiver is None or self._shut_at is not None:
            return
        if not self._text:
            self._receiver.receive(message)
            return
        try:
            text = message.decode()
        except UnicodeDecodeError:
            self._receiver.close(CloseReason.INVALID_DATA)
            return
        self._receiver.receive(text)

    def _flush(self) -> None:
        """Send what the framing has to say: pongs, close frames, the end of the stream."""
        for data in self._framing.data_to_send():
            if data:
                if not self.outbox.send(data) and self._receiver is not None:
                    self._receiver.close(CloseReason.SLOW_CONSUMER)
            else:
                self._end()

    def _end(self) -> None:
        """The closing handshake is over, or cannot be had."""
        if self._receiver is not None:
            self._receiver.lost(_reason(self._framing))
        self._transport.close()


class _Nobody:
    """The receiver of a WebSocket that was let in only to be closed."""

    ended: Final = True

    def receive(self, frame: str | bytes) -> None:
        """Nobody listens."""

    def close(self, reason: CloseReason) -> None:
        """It is being closed."""

    def lost(self, reason: CloseReason) -> None:
        """Nobody misses it."""

    def reschedule(self) -> None:
        """It has a deadline of its own."""


NOBODY: Final[Receiver] = _Nobody()


def _reason(framing: Frames) -> CloseReason:
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
