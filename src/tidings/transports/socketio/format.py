"""What Socket.IO clients are sent, in final bytes: WebSocket text frames (RFC 6455, section 5.2)."""

from tidings.domain.event import Published
from tidings.transports.socketio.engine import MESSAGE_PREFIX
from tidings.transports.socketio.packet import encode_event

_SHORT, _MEDIUM = 126, 1 << 16


def text_frame(packet: bytes) -> bytes:
    """One Engine.IO packet as one whole, unmasked text frame: opcode 1, and the length in 7, 16 or 64 bits."""
    size = len(packet)
    if size < _SHORT:
        return b"\x81%c%b" % (size, packet)
    if size < _MEDIUM:
        return b"\x81\x7e%b%b" % (size.to_bytes(2, "big"), packet)
    return b"\x81\x7f%b%b" % (size.to_bytes(8, "big"), packet)


class WebSocketFormat:
    """Events of one namespace over WebSocket, the cursor as last argument (connection state recovery)."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def encode(self, published: Published, cursor: str) -> bytes:
        event = published.event
        return text_frame(
            MESSAGE_PREFIX + encode_event(self._namespace, event.name, event.data, position=cursor)
        )
