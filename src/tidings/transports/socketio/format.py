"""What Socket.IO clients are sent, in final bytes: WebSocket text frames (RFC 6455, section 5.2)."""

from websockets.frames import Frame, Opcode

from tidings.domain.event import Published
from tidings.transports.socketio.engine import MESSAGE_PREFIX
from tidings.transports.socketio.packet import encode_event

_TEXT = Opcode.TEXT


def text_frame(packet: bytes) -> bytes:
    """One Engine.IO packet as one unmasked text frame."""
    return Frame(_TEXT, packet).serialize(mask=False)


class WebSocketFormat:
    """Events of one namespace over WebSocket, the cursor as last argument (connection state recovery)."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def encode(self, published: Published, cursor: str) -> bytes:
        event = published.event
        return text_frame(
            MESSAGE_PREFIX + encode_event(self._namespace, event.name, event.data, position=cursor)
        )
