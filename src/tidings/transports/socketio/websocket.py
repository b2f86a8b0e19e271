"""One WebSocket (RFC 6455): bytes to messages and back, from the handshake's answer to the end.

Framing is ``websockets``' sans-I/O ``Protocol``, made when something comes that is not a whole message in text:
until they close, most clients send nothing else. What a message means is its receiver's. The fan-out
does not come through here: it writes to the outbox.
"""

import asyncio
import logging
import time
from codecs import utf_8_decode
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
from tidings.transports.site import half_close
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.format import WEBSOCKET, Framing
from tidings.transports.socketio.frame import whole_texts

TRANSPORT: Final = "websocket"

_log = logging.getLogger("websockets.server")
_OPEN, _TEXT, _BINARY, _CONT = State.OPEN, Opcode.TEXT, Opcode.BINARY, Opcode.CONT
_NO_ID = UUID(int=0)
"""``websockets`` gives each connection an id for its own log; ours has one already."""
_CLOSE_SECONDS = 1.0
"""How long the peer has to answer a close frame, or to end the connection behind ours."""


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


class _Framing(Frames):
    """The library's, but for a close frame amid a message in fragments, which it refuses.

    It is one like any other there (RFC 6455, section 5.4); what had come of the message is dropped.
    """

    def fail(self, code: CloseCode | int, reason: str = "") -> None:
        # Of what follows a close frame nothing is read, so nothing but this can fail behind one.
        received = self.close_rcvd
        if received is not None:
            unsaid = received.code == CloseCode.NO_STATUS_RCVD
            code, reason = CloseCode.NORMAL_CLOSURE if unsaid else received.code, received.reason
        super().fail(code, reason)


class WebSocket(asyncio.Protocol):
    """The carrier of one connection, from the opening handshake's answer to the end of the transport."""

    __slots__ = (
        "_checked",
        "_connections",
        "_frames",
        "_max_payload",
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
        self._max_payload = max_payload
        self._frames: _Framing | None = None
        self._message: bytearray | None = None
        self._checked = 0
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
        texts = whole_texts(data, self._max_payload) if self._frames is None else None
        if texts is not None:
            for text in texts:
                self._deliver(text)
            return
        frames = self._library()
        if frames.eof_sent:
            return
        frames.receive_data(data)
        for event in frames.events_received():
            assert isinstance(event, Frame)
            self._receive(event)
        self._flush(frames)

    def eof_received(self) -> None:
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.outbox.close()
        self._wheel.cancel(self)
        self._connections.discard(self)
        frames, receiver, self._receiver = self._frames, self._receiver, None
        if receiver is not None:
            closed = frames is not None and frames.close_rcvd is not None
            receiver.lost(CloseReason.CLIENT_CLOSED if closed else CloseReason.TRANSPORT_LOST)
        if frames is not None:
            frames.parser.close()

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
        frames = self._library()
        if not congested and frames.state is _OPEN:
            frames.send_close(reason.websocket, reason.text)
            self._flush(frames)
        self.outbox.close()
        if congested:
            self._transport.abort()
            return
        self._transport.resume_reading()
        self._expect_end()

    # What the server and the wheel call.

    def shutdown(self) -> None:
        if self._receiver is not None:
            self._receiver.close(CloseReason.DRAINING)

    def due(self, now: float) -> float | None:
        if self._shut_at is not None and now < self._shut_at:
            return self._shut_at
        self._transport.abort()
        return None

    def _library(self) -> _Framing:
        """What reads all that comes from now on."""
        if self._frames is None:
            self._frames = _Framing(SERVER, max_size=self._max_payload, logger=_log)
            self._frames.id = _NO_ID
        return self._frames

    def _receive(self, frame: Frame) -> None:
        if self._receiver is None or self._shut_at is not None:
            return
        try:
            message = self._assemble(frame)
        except UnicodeDecodeError:
            self._receiver.close(CloseReason.INVALID_DATA)
        else:
            if message is not None:
                self._deliver(message)

    def _deliver(self, message: str | bytes) -> None:
        # What came before the peer's close frame counts, though the framing has read on to it.
        if self._receiver is not None and self._shut_at is None:
            self._receiver.receive(message)

    def _assemble(self, frame: Frame) -> str | bytes | None:
        """The message of which this frame is the last; None for others.

        Text is checked fragment by fragment, so that no more is read of what cannot become UTF-8 any more.

        Raises:
            UnicodeDecodeError: it cannot.
        """
        if frame.opcode in (_TEXT, _BINARY):
            self._text = frame.opcode is _TEXT
            if frame.fin:
                return self._whole(bytes(frame.data))
            self._message, self._checked = bytearray(), 0
        elif frame.opcode is not _CONT or self._message is None:
            return None
        self._message += frame.data
        if frame.fin:
            message, self._message = bytes(self._message), None
            return self._whole(message)
        if self._text:
            self._checked += utf_8_decode(self._message[self._checked :])[1]
        return None

    def _whole(self, message: bytes) -> str | bytes:
        return message.decode() if self._text else message

    def _flush(self, frames: _Framing) -> None:
        """Send what the framing has to say: pongs, close frames, the end of the stream."""
        for data in frames.data_to_send():
            if data:
                if not self.outbox.send(data) and self._receiver is not None:
                    self._receiver.close(CloseReason.SLOW_CONSUMER)
            else:
                self._end(frames)

    def _end(self, frames: _Framing) -> None:
        """The closing handshake is over, or cannot be had.

        A peer that is still sending would lose what it was told last, and why, if it were not read from
        (RFC 6455, section 7.1.1).
        """
        if self._receiver is not None:
            self._receiver.lost(_reason(frames))
        self.outbox.close()
        half_close(self._transport)
        if self._shut_at is None:
            self._expect_end()

    def _expect_end(self) -> None:
        self._shut_at = time.monotonic() + _CLOSE_SECONDS
        self._wheel.schedule(self, self._shut_at)


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
