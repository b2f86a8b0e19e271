"""What Socket.IO clients are sent, in final bytes, for each carrier and each revision of Engine.IO."""

from typing import Final, Protocol

from tidings.domain.event import Published
from tidings.transports.socketio import payload
from tidings.transports.socketio.engine import BINARY_PREFIX, MESSAGE_PREFIX, Revision
from tidings.transports.socketio.packet import encode_event

_SHORT, _MEDIUM = 126, 1 << 16
_TEXT, _BINARY = b"\x81", b"\x82"
"""The first byte of a whole text frame (opcode 1) and of a whole binary one (opcode 2)."""


class Framing(Protocol):
    """How one kind of carrier is written to. One object per kind, shared by all its connections."""

    def text(self, packet: bytes) -> bytes:
        """An Engine.IO packet in text."""

    def binary(self, data: bytes) -> bytes:
        """A binary message."""


class WebSocketFraming:
    """Whole, unmasked WebSocket frames (RFC 6455, section 5.2)."""

    def __init__(self, revision: Revision) -> None:
        self._prefix = BINARY_PREFIX if revision is Revision.V3 else b""

    def text(self, packet: bytes) -> bytes:
        return _header(_TEXT, len(packet)) + packet

    def binary(self, data: bytes) -> bytes:
        data = self._prefix + data
        return _header(_BINARY, len(data)) + data


WEBSOCKET: Final = {revision: WebSocketFraming(revision) for revision in Revision}
POLLING: Final[dict[Revision, payload.Payload]] = {Revision.V3: payload.V3, Revision.V4: payload.V4}


_formats: dict[tuple[str, Framing], "EventFormat"] = {}


class EventFormat:
    """Events of one namespace on one kind of carrier, the cursor as last argument (connection state recovery)."""

    def __init__(self, namespace: str, framing: Framing) -> None:
        self._namespace = namespace
        self._framing = framing

    def encode(self, published: Published, cursor: str) -> bytes:
        event = published.event
        message = encode_event(self._namespace, event.name, event.data, position=cursor)
        return self._framing.text(MESSAGE_PREFIX + message)


def reframe(waiting: bytes, polling: payload.Payload, framing: Framing) -> bytes:
    """What was to be polled, in another carrier's bytes."""
    packets = polling.split(waiting)
    return b"".join(
        [framing.text(each.encode()) if isinstance(each, str) else framing.binary(each) for each in packets]
    )


def event_format(namespace: str, framing: Framing) -> EventFormat:
    """The one object for both: sessions that share it are written to alike."""
    known = _formats.get((namespace, framing))
    if known is None:
        known = _formats[namespace, framing] = EventFormat(namespace, framing)
    return known


def _header(first: bytes, size: int) -> bytes:
    """The length in 7, 16 or 64 bits."""
    if size < _SHORT:
        return b"%b%c" % (first, size)
    if size < _MEDIUM:
        return b"%b\x7e%b" % (first, size.to_bytes(2, "big"))
    return b"%b\x7f%b" % (first, size.to_bytes(8, "big"))
