"""Socket.IO packets, protocols 4 and 5: text in, ``Packet`` out, and the bytes that a server sends.

One packet at a time. Which packet may follow which is ``protocol``'s business; Engine.IO's leading ``4`` and
the WebSocket frame around it are added by the caller, who writes the encoders' bytes right behind them.
Names that are reserved, and namespaces that do not exist, are well-formed here.

Source: the Socket.IO protocol document, version 5, "Packet encoding"; of version 4, the differences.
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

_PLACEHOLDER: Final = b'"_placeholder":true'
_MAX_NAMESPACE_LENGTH: Final = 128
_MAX_ID_DIGITS: Final = 16
_HEAD: Final = re.compile(r"([0-6])(?:([1-9][0-9]{0,2})-)?(?:(/[^,]*),?)?([0-9]*)")
_ID_GROUP: Final = 4


class Revision(IntEnum):
    """The Engine.IO protocol that a connection speaks, and with it which Socket.IO protocol it carries.

    ``V3`` carries Socket.IO protocol 4 (stock clients 2), ``V4`` carries protocol 5 (stock clients 3 and 4).
    """

    V3 = 3
    V4 = 4


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
    """A CONNECT whose payload is not an object, or that may have none (``Revision.V3``).

    Its namespace is known, so it can be answered before closing.
    """

    def __init__(self, namespace: str, query: str = "") -> None:
        super().__init__("illegal CONNECT payload")
        self.namespace = namespace
        self.query = query


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

    ``data`` is CONNECT's object or the array of an event or ack; elsewhere there is none. ``query`` is what a
    ``Revision.V3`` client wrote behind the namespace of its CONNECT; it may hold secrets and is not for the log.
    """

    type: PacketType
    namespace: str
    data: dict[str, Any] | list[Any] | None = None
    id: int | None = None
    attachments: int = 0
    query: str = ""


def decode(text: str, *, max_attachments: int = MAX_ATTACHMENTS, revision: Revision = Revision.V4) -> Packet:
    """Read one packet of a client.

    A namespace ends with a comma or with the text: the official test-suite sends ``0/random``. Only a CONNECT
    of ``Revision.V3`` has a query; later "?" is a character of the namespace's name like any other.

    Raises:
        MalformedPacket: for every deviation from the document, CONNECT_ERROR from a client included.
        MalformedConnect: a CONNECT is followed by anything but an object, with ``Revision.V3`` by anything.
    """
    head = _HEAD.match(text)
    if head is None:
        raise MalformedPacket("unknown packet type")
    digit, count, name, id_digits = head.groups()
    kind = PacketType(int(digit))
    query = ""
    if name is not None and kind is PacketType.CONNECT and revision is Revision.V3:
        name, _, query = name.partition("?")
    namespace = _namespace(name)
    attachments = _attachments(kind, count, max_attachments)
    if kind is PacketType.CONNECT:
        auth = _auth(namespace, query, text[head.start(_ID_GROUP) :], revision)
        return Packet(kind, namespace, auth, query=query)
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


def encode_connect(namespace: str, data: bytes = b"") -> bytes:
    """CONNECT, the server's consent. ``data`` is a JSON object with ``sid`` and the like; V3 clients get none."""
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


def encode_args(
    kind: PacketType, namespace: str, args: Sequence[Any], ack_id: int | None = None
) -> tuple[bytes, list[bytes]]:
    """EVENT or ACK with any arguments, and the attachments to be sent right behind it.

    ``args`` are JSON but for the ``bytes`` among them, which become attachments and the packet a binary one; an
    event's name is the first of them. Inverse of ``decode`` and ``reconstruct``.

    Raises:
        ValueError: beside an attachment stands an object that the client would take for a placeholder.
        TypeError: something in ``args`` is neither JSON nor ``bytes``.
    """
    attachments: list[bytes] = []
    data = dumps(_strip(args, attachments))
    if not attachments:
        return _head(kind, namespace, ack_id) + data, attachments
    # No text in the JSON can look like this: its quotes would be escaped.
    if data.count(_PLACEHOLDER) != len(attachments):
        raise ValueError("an argument looks like a placeholder")
    binary = PacketType.BINARY_EVENT if kind is PacketType.EVENT else PacketType.BINARY_ACK
    return _head(binary, namespace, ack_id, len(attachments)) + data, attachments


def _head(kind: PacketType, namespace: str, ack_id: int | None = None, attachments: int = 0) -> bytes:
    count = f"{attachments}-" if attachments else ""
    space = "" if namespace == MAIN_NAMESPACE else f"{namespace},"
    return f"{kind:d}{count}{space}{'' if ack_id is None else ack_id}".encode()


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


def _auth(namespace: str, query: str, text: str, revision: Revision) -> dict[str, Any] | None:
    if not text:
        return None
    if revision is Revision.V3:
        raise MalformedConnect(namespace, query)
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


def _strip(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, bytes):
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, list | tuple):
        return [_strip(item, attachments) for item in value]
    if isinstance(value, dict):
        return {key: _strip(item, attachments) for key, item in value.items()}
    return value
