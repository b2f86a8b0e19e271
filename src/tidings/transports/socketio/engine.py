"""Engine.IO, protocols 3 and 4: what a packet says, whether the peer is alive, and the upgrade to WebSocket.

No clock and no socket: times are passed in, packets are passed in, and the bytes to send are constants or as
good as that. It does not know what a message holds, nor what carried it; the bodies of long-polling are cut
into packets by ``payload``.

Source: the Engine.IO protocol documents, version 4 and version 3.
"""

import base64
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import lru_cache
from typing import Final

from tidings.domain.errors import CloseReason
from tidings.domain.strictjson import dumps
from tidings.transports.socketio.packet import MalformedPacket, ProtocolViolation
from tidings.transports.socketio.packet import Revision as Revision  # noqa: PLC0414  a name of this layer too

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
NOOP_PACKET: Final = EngineType.NOOP.encode()
"""What releases a waiting poll that there is nothing else for ("Upgrade")."""

MESSAGE_PREFIX: Final = EngineType.MESSAGE.encode()
"""What stands between the WebSocket header and a Socket.IO packet in a text frame."""

BINARY_PREFIX: Final = b"\x04"
"""What stands there in a binary frame of ``Revision.V3``; later nothing does."""

PROBE_ANSWER: Final = b"3probe"

_PROBE: Final = "2probe"
_MAX_PING_DATA: Final = 125


class Signal(Enum):
    """A packet that carries no message."""

    PONG = "pong"
    CLOSE = "close"
    PROBE = "probe"
    UPGRADE = "upgrade"


@dataclass(frozen=True, slots=True)
class Ping:
    """A ping of a ``Revision.V3`` client, to be answered by what ``Engine.answer`` makes of it."""

    data: str


class Beat(Enum):
    """What a passed deadline asks for: a ping to be sent, or the connection to be closed."""

    PING = "ping"
    TIMEOUT = "timeout"


def open_packet(
    sid: str, ping_interval: float, ping_timeout: float, max_payload: int, upgrades: tuple[str, ...] = ()
) -> bytes:
    """The first packet of a session ("Handshake"). Times in seconds, ``max_payload`` in bytes.

    ``sid`` is as ``new_secret`` makes them, of characters that JSON does not escape.
    """
    offer = _offer(ping_interval, ping_timeout, max_payload, upgrades)
    return b'0{"sid":"%b",%b' % (sid.encode("ascii"), offer)


@lru_cache
def _offer(ping_interval: float, ping_timeout: float, max_payload: int, upgrades: tuple[str, ...]) -> bytes:
    """What all sessions of an endpoint are told alike, behind the opening brace."""
    terms = {
        "upgrades": upgrades,
        "pingInterval": round(ping_interval * 1000),
        "pingTimeout": round(ping_timeout * 1000),
        "maxPayload": max_payload,
    }
    return dumps(terms)[1:]


class Engine:
    """One open connection. Its whole state is when it was last pinged and whether an answer is due.

    ``now`` is any clock in seconds that never goes back, the same one in every call. With ``Revision.V3`` it is
    the client that pings: then the next ping is due all the time, from the last one on.
    """

    __slots__ = ("_awaiting", "_ping_interval", "_ping_timeout", "_pinged", "_revision")

    def __init__(
        self,
        now: float,
        *,
        revision: Revision = Revision.V4,
        ping_interval: float = PING_INTERVAL,
        ping_timeout: float = PING_TIMEOUT,
    ) -> None:
        self._revision = revision
        self._ping_interval = ping_interval
        self._ping_timeout = ping_timeout
        self._pinged = now
        self._awaiting = False
        if revision is Revision.V3:
            self._awaiting = True
            self._ping_timeout += ping_interval

    def receive(self, packet: str | bytes) -> str | bytes | Signal | Ping:
        """What one packet says: a message's content, text or binary, a signal, or a ping to be answered.

        A pong that nobody asked for is taken for what it is, a sign of life.

        Raises:
            MalformedPacket: it is no Engine.IO packet.
            ProtocolViolation: the packet is not one that a client may send here.
        """
        if not isinstance(packet, str):
            return packet if self._revision is Revision.V4 else _typed(packet)
        match packet[:1]:
            case EngineType.MESSAGE:
                return packet[1:]
            case EngineType.PONG if self._revision is Revision.V4:
                self._awaiting = False
                return Signal.PONG
            case EngineType.PING if self._revision is Revision.V3:
                return _ping(packet[1:])
            case EngineType.CLOSE:
                return Signal.CLOSE
            case EngineType.BASE64:
                return _base64(packet[1:], self._revision)
            case EngineType.PING | EngineType.PONG:
                raise ProtocolViolation(CloseReason.MALFORMED, "heartbeat in the wrong direction")
            case EngineType.OPEN | EngineType.UPGRADE | EngineType.NOOP:
                raise ProtocolViolation(CloseReason.MALFORMED, "handshake packet on an open connection")
            case _:
                raise MalformedPacket("unknown Engine.IO packet type")

    def answer(self, ping: Ping, now: float) -> bytes:
        """The packet that answers a ping; the connection is alive as of ``now``."""
        self._pinged = now
        return f"{EngineType.PONG}{ping.data}".encode()

    def next_deadline(self) -> float:
        """When to call ``due`` next. A heartbeat moves it later: a timer set before may find nothing due."""
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


class Probe:
    """A WebSocket that wants to take a connection over from long-polling ("Upgrade").

    The client may send its upgrade without waiting for the answer to its probe.
    """

    __slots__ = ("_expected",)

    def __init__(self) -> None:
        self._expected: str | None = _PROBE

    def receive(self, packet: str | bytes) -> Signal:
        """``Signal.PROBE``, to be answered by ``PROBE_ANSWER``, and then ``Signal.UPGRADE``, which ends this.

        Raises:
            ProtocolViolation: anything else, which costs the WebSocket its life but not the connection.
        """
        if packet != self._expected:
            raise ProtocolViolation(CloseReason.MALFORMED, "not the upgrade's next packet")
        if packet == _PROBE:
            self._expected = EngineType.UPGRADE
            return Signal.PROBE
        self._expected = None
        return Signal.UPGRADE


def _ping(data: str) -> Ping:
    """What is sent back is short and harmless; stock clients send nothing here."""
    if len(data) > _MAX_PING_DATA or not data.isascii():
        raise MalformedPacket("ping with too much data")
    return Ping(data)


def _typed(frame: bytes) -> bytes:
    if not frame.startswith(BINARY_PREFIX):
        raise MalformedPacket("binary packet that is no message")
    return frame[1:]


def _base64(text: str, revision: Revision) -> bytes:
    """A stock client with ``forceBase64`` sends its binary messages as text, also over a WebSocket."""
    if revision is Revision.V3:
        if not text.startswith(EngineType.MESSAGE):
            raise MalformedPacket("binary packet that is no message")
        text = text[1:]
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise MalformedPacket("not base64") from None
