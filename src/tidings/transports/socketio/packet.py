"""Socket.IO packets, protocol 5: text in, ``Packet`` out, and the bytes that a server sends.

One packet at a time. Which packet may follow which is ``protocol``'s business; Engine.IO's leading ``4`` and
the WebSocket frame around it are added by the caller, who writes the encoders' bytes right behind them.
Names that are reserved, and namespaces that do not exist, are well-formed here.

Source: the Socket.IO protocol document, version 5, "Packet encoding".
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from tidings.domain.errors import CloseReason
from tidings.domain.strictjson import MalformedJson, dumps, loads

MAIN_NAMESPACE: Final = "/"
"""The namespace that is not written on the wire."""

MAX_ATTACHMENTS: Final = 10
"""Binary attachments of one packet, unless the caller says otherwise (contract, section 10)."""

_MAX_NAMESPACE_LENGTH: Final = 128
_MAX_ID_DIGITS: Final = 16
_HEAD: Final = re.compile(r"([0-6])(?:([1-9][0-9]{0,2})-)?(?:(/[^,]*),?)?([0-9]*)")
_ID_GROUP: Final = 4


class ProtocolViolation(Exception):
    """The connection has to be closed for ``reason``. The message is for the log and never repeats input."""

    def __init__(self, reason: CloseReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class MalformedPacket(ProtocolViolation):
    """What came is no packet that a client may send."""

    def __init__(self, detail: str) -> None:
        super().__init__(CloseReason.MALFORMED, detail)


class MalformedConnect(MalformedPacket):
    """A CONNECT whose payload is not an object. Its namespace is known, so it can be answered before closing."""

    def __init__(self, namespace: str) -> None:
        super().__init__("CONNECT payload is not an object")
        self.namespace = namespace


class PacketType(IntEnum):
    """The first digit on the wire."""

    CONNECT = 0
    DISCONNECT = 1
    EVENT = 2
    ACK = 3
    CONNECT_ERROR = 4
    BINARY_EVENT = 5
    BINARY_ACK = 6


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as it was sent. ``attachments`` says how many binary messages follow it.

    ``data`` is CONNECT's object or the array of an event or ack; elsewhere there is none.
    """

    type: PacketType
    namespace: str
    data: dict[str, Any] | list[Any] | None = None
    id: int | None = None
    attachments: int = 0


def decode(text: str, *, max_attachments: int = MAX_ATTACHMENTS) -> Packet:
    """Read one packet of a client.

    A namespace ends with a comma or with the text: the official test-suite sends ``0/random``.

    Raises:
        MalformedPacket: for every deviation from the document, CONNECT_ERROR from a client included.
        MalformedConnect: a CONNECT is followed by anything but an object.
    """
    head = _HEAD.match(text)
    if head is None:
        raise MalformedPacket("unknown packet type")
    digit, count, name, id_digits = head.groups()
    kind = PacketType(int(digit))
    namespace = _namespace(name)
    attachments = _attachments(kind, count, max_attachments)
    if kind is PacketType.CONNECT:
        return Packet(kind, namespace, _auth(namespace, text[head.start(_ID_GROUP) :]))
    if kind is PacketType.DISCONNECT:
        if head.start(_ID_GROUP) != len(text):
            raise MalformedPacket("DISCONNECT with a payload")
        return Packet(kind, namespace)
    if kind is PacketType.CONNECT_ERROR:
        raise MalformedPacket("CONNECT_ERROR from a client")
    ack_id = _ack_id(id_digits)
    data = _array(text[head.end() :])
    if kind in (PacketType.EVENT, PacketType.BINARY_EVENT):
        if not data or not isinstance(data[0], str):
            raise MalformedPacket("event without a name")
    elif ack_id is None:
        raise MalformedPacket("ack without an id")
    return Packet(kind, namespace, data, ack_id, attachments)


def reconstruct(packet: Packet, attachments: Sequence[bytes]) -> Packet:
    """The EVENT or ACK that a binary packet and its attachments make together.

    As in the official parser an attachment may be referenced more than once, or never.

    Raises:
        MalformedPacket: a placeholder names no attachment.
    """
    kind = PacketType.EVENT if packet.type is PacketType.BINARY_EVENT else PacketType.ACK
    return Packet(kind, packet.namespace, _fill(packet.data, attachments), packet.id)


def encode_connect(namespace: str, data: bytes) -> bytes:
    """CONNECT, the server's consent. ``data`` is a JSON object with ``sid`` and the like."""
    return _head(PacketType.CONNECT, namespace) + data


def encode_connect_error(namespace: str, data: bytes) -> bytes:
    """CONNECT_ERROR. ``data`` is a JSON object with a ``message``."""
    return _head(PacketType.CONNECT_ERROR, namespace) + data


def encode_disconnect(namespace: str) -> bytes:
    """DISCONNECT: the server ends this namespace; the connection may live on."""
    return _head(PacketType.DISCONNECT, namespace)


def encode_event(
    namespace: str, name: str, data: bytes, *, position: str | None = None, ack_id: int | None = None
) -> bytes:
    """EVENT with one argument, ``data``, which is JSON already.

    ``position`` becomes the last argument, where a client with connection state recovery looks for it.
    """
    head = _head(PacketType.EVENT, namespace, ack_id)
    if position is None:
        return b"%b[%b,%b]" % (head, dumps(name), data)
    return b"%b[%b,%b,%b]" % (head, dumps(name), data, dumps(position))


def encode_ack(namespace: str, ack_id: int, data: bytes) -> bytes:
    """ACK with one argument, ``data``, which is JSON already."""
    return b"%b[%b]" % (_head(PacketType.ACK, namespace, ack_id), data)


def _head(kind: PacketType, namespace: str, ack_id: int | None = None) -> bytes:
    space = "" if namespace == MAIN_NAMESPACE else f"{namespace},"
    return f"{kind:d}{space}{'' if ack_id is None else ack_id}".encode()


def _namespace(name: str | None) -> str:
    """Printable and short, because a refused name goes back to the client and into the log."""
    if name is None:
        return MAIN_NAMESPACE
    if len(name) > _MAX_NAMESPACE_LENGTH or not name.isprintable():
        raise MalformedPacket("unusable namespace")
    return name


def _attachments(kind: PacketType, count: str | None, limit: int) -> int:
    binary = kind in (PacketType.BINARY_EVENT, PacketType.BINARY_ACK)
    if binary is (count is None):
        raise MalformedPacket("illegal number of attachments")
    attachments = 0 if count is None else int(count)
    if attachments > limit:
        raise MalformedPacket("too many attachments")
    return attachments


def _ack_id(digits: str) -> int | None:
    if not digits:
        return None
    if len(digits) > _MAX_ID_DIGITS or (digits[0] == "0" and digits != "0"):
        raise MalformedPacket("illegal ack id")
    return int(digits)


def _auth(namespace: str, text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        payload = loads(text)
    except MalformedJson:
        raise MalformedConnect(namespace) from None
    if not isinstance(payload, dict):
        raise MalformedConnect(namespace)
    return payload


def _array(text: str) -> list[Any]:
    try:
        payload = loads(text)
    except MalformedJson as fault:
        raise MalformedPacket(f"payload: {fault}") from None
    if not isinstance(payload, list):
        raise MalformedPacket("payload is not an array")
    return payload


def _fill(value: Any, attachments: Sequence[bytes]) -> Any:
    if isinstance(value, list):
        return [_fill(item, attachments) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("_placeholder") is not True:
        return {key: _fill(item, attachments) for key, item in value.items()}
    number = value.get("num")
    if type(number) is not int or not 0 <= number < len(attachments):
        raise MalformedPacket("placeholder without an attachment")
    return attachments[number]
