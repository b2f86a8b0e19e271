"""Engine.IO, protocol 4, over one WebSocket: what a frame says, and when to ask whether the peer is alive.

No clock and no socket: times are passed in, frames are passed in, and the bytes to send are constants. It does
not know what a message holds. Long-polling, the upgrade from it and protocol 3 are not spoken here, so a frame
that only makes sense in them closes the connection.

Source: the Engine.IO protocol document, version 4.
"""

import base64
from enum import Enum, StrEnum
from typing import Final

from tidings.domain.errors import CloseReason
from tidings.domain.strictjson import dumps
from tidings.transports.socketio.packet import MalformedPacket, ProtocolViolation

PING_INTERVAL: Final = 25.0
"""Seconds from one ping to the next (contract, section 10)."""

PING_TIMEOUT: Final = 20.0
"""Seconds in which a ping has to be answered (contract, section 10)."""


class EngineType(StrEnum):
    """The first character of a text frame."""

    OPEN = "0"
    CLOSE = "1"
    PING = "2"
    PONG = "3"
    MESSAGE = "4"
    UPGRADE = "5"
    NOOP = "6"
    BASE64 = "b"


PING_PACKET: Final = EngineType.PING.encode()
CLOSE_PACKET: Final = EngineType.CLOSE.encode()
MESSAGE_PREFIX: Final = EngineType.MESSAGE.encode()
"""What stands between the WebSocket header and a Socket.IO packet in a text frame."""


class Signal(Enum):
    """A frame that carries no message."""

    PONG = "pong"
    CLOSE = "close"


class Beat(Enum):
    """What a passed deadline asks for: a ping to be sent, or the connection to be closed."""

    PING = "ping"
    TIMEOUT = "timeout"


def open_packet(
    sid: str, ping_interval: float, ping_timeout: float, max_payload: int, upgrades: tuple[str, ...] = ()
) -> bytes:
    """The first packet of a session ("Handshake"). Times in seconds, ``max_payload`` in bytes."""
    return EngineType.OPEN.encode() + dumps(
        {
            "sid": sid,
            "upgrades": upgrades,
            "pingInterval": round(ping_interval * 1000),
            "pingTimeout": round(ping_timeout * 1000),
            "maxPayload": max_payload,
        }
    )


class Engine:
    """One open connection. Its whole state is when it was last pinged and whether that was answered.

    ``now`` is any clock in seconds that never goes back, the same one in every call.
    """

    __slots__ = ("_awaiting", "_ping_interval", "_ping_timeout", "_pinged")

    def __init__(
        self, now: float, *, ping_interval: float = PING_INTERVAL, ping_timeout: float = PING_TIMEOUT
    ) -> None:
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._pinged = now
        self._awaiting = False

    def receive(self, frame: str | bytes) -> str | bytes | Signal:
        """What one frame says: a message's content, text or binary, or a signal.

        A pong that nobody asked for is taken for what it is, a sign of life.

        Raises:
            MalformedPacket: the frame is no Engine.IO packet.
            ProtocolViolation: the packet is not one that a client may send here.
        """
        if not isinstance(frame, str):
            return frame
        match frame[:1]:
            case EngineType.MESSAGE:
                return frame[1:]
            case EngineType.PONG:
                self._awaiting = False
                return Signal.PONG
            case EngineType.CLOSE:
                return Signal.CLOSE
            case EngineType.BASE64:
                return _binary(frame[1:])
            case EngineType.PING:
                raise ProtocolViolation(CloseReason.MALFORMED, "ping from a client")
            case EngineType.OPEN | EngineType.UPGRADE | EngineType.NOOP:
                raise ProtocolViolation(CloseReason.MALFORMED, "handshake packet on an open connection")
            case _:
                raise MalformedPacket("unknown Engine.IO packet type")

    def next_deadline(self) -> float:
        """When to call ``due`` next. A pong moves it later, so that a timer set before may find nothing due."""
        return self._pinged + (self._ping_timeout if self._awaiting else self._ping_interval)

    def due(self, now: float) -> Beat | None:
        """What has to be done at ``now``; a returned ``Beat.PING`` counts as sent."""
        if now < self.next_deadline():
            return None
        if self._awaiting:
            return Beat.TIMEOUT
        self._pinged = now
        self._awaiting = True
        return Beat.PING


def _binary(text: str) -> bytes:
    """A stock client with ``forceBase64`` sends its binary messages as text, also over a WebSocket."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise MalformedPacket("not base64") from None
