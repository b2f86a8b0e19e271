"""The rules of one Socket.IO connection: which namespaces it is connected to, and what may be said when.

Messages in, what the client asked for out. It sends nothing, authenticates nobody and knows no clock: the
caller answers with ``packet``'s encoders and reports its decision with ``accept``, ``reject`` and
``disconnect``. It remembers no ack that the server waits for. A violation leaves it in no particular state;
the connection is at its end.

A client of ``Revision.V3`` takes the main namespace for connected from the start and asks for no CONNECT: the
caller asks in its place (``receive("0")``).

Source: the Socket.IO protocol documents, version 5, "Exchange protocol", and version 4.
"""

from dataclasses import dataclass
from typing import Any, Final

from tidings.domain.errors import CloseReason
from tidings.transports.socketio.packet import (
    MAX_ATTACHMENTS,
    MalformedConnect,
    Packet,
    PacketType,
    ProtocolViolation,
    Revision,
    decode,
    reconstruct,
)

MAX_NAMESPACES: Final = 16
"""Namespaces that a connection is connected to or waiting for, and CONNECTs it was ever refused, together."""

MAX_ATTACHMENT_BYTES: Final = 1_000_000
"""Bytes of one packet's attachments together."""

INVALID_NAMESPACE: Final = b'{"message":"Invalid namespace"}'
"""The payload of the CONNECT_ERROR that answers ``ConnectRefused``, as the stock server writes it."""

RESERVED_EVENTS: Final = frozenset(
    {"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}
)
"""Names that mean something to Socket.IO itself; no client may emit them."""


@dataclass(frozen=True, slots=True)
class ConnectRequested:
    """CONNECT to a namespace that exists: to be answered by ``accept`` or ``reject``. No payload, no ``auth``."""

    namespace: str
    auth: dict[str, Any] | None
    query: str = ""
    """What a ``Revision.V3`` client wrote behind the namespace. A secret in there is not for the log."""


@dataclass(frozen=True, slots=True)
class ConnectRefused:
    """CONNECT to a namespace that does not exist: answer ``INVALID_NAMESPACE``. ``query`` as above."""

    namespace: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class ConnectMalformed:
    """CONNECT with a payload that is no object: answer as to a wrong token, and close. ``query`` as above."""

    namespace: str
    query: str = ""


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The client has left the namespace; no answer is due."""

    namespace: str


@dataclass(frozen=True, slots=True)
class EventReceived:
    """An event; ``ack_id`` is there if the client wants an answer. Attachments stand in ``args`` as bytes."""

    namespace: str
    name: str
    args: list[Any]
    ack_id: int | None


@dataclass(frozen=True, slots=True)
class AckReceived:
    """The answer to an event of the server, whether or not one was waiting for it."""

    namespace: str
    id: int
    args: list[Any]


Received = ConnectRequested | ConnectRefused | ConnectMalformed | Disconnected | EventReceived | AckReceived


class _Assembly:
    """A binary packet some of whose attachments are still to come, and for how many bytes of them there is room."""

    __slots__ = ("attachments", "head", "room")

    def __init__(self, head: Packet, room: int) -> None:
        self.head = head
        self.attachments: list[bytes] = []
        self.room = room


class Protocol:
    """One connection's place in the protocol.

    ``namespaces`` are those that exist, shared by all connections. A namespace is pending from its CONNECT
    until the caller decides; only a connected one may be spoken to.
    """

    __slots__ = (
        "_assembly",
        "_connected",
        "_max_attachment_bytes",
        "_max_attachments",
        "_max_namespaces",
        "_namespaces",
        "_pending",
        "_refused",
        "_revision",
    )

    def __init__(
        self,
        namespaces: frozenset[str],
        *,
        max_attachments: int = MAX_ATTACHMENTS,
        max_attachment_bytes: int = MAX_ATTACHMENT_BYTES,
        max_namespaces: int = MAX_NAMESPACES,
        revision: Revision = Revision.V4,
    ) -> None:
        self._namespaces = namespaces
        self._revision = revision
        self._max_attachments = max_attachments
        self._max_attachment_bytes = max_attachment_bytes
        self._max_namespaces = max_namespaces
        # Tuples, because nearly every connection has one namespace, and the empty one costs nothing.
        self._pending: tuple[str, ...] = ()
        self._connected: tuple[str, ...] = ()
        self._refused = 0
        self._assembly: _Assembly | None = None

    @property
    def assembling(self) -> bool:
        """Whether attachments are awaited. How long they may take is for the caller to say."""
        return self._assembly is not None

    def receive(self, message: str | bytes) -> Received | None:
        """What one Engine.IO message says; None while attachments are awaited.

        Raises:
            ProtocolViolation: the connection has to be closed, for its ``reason``.
        """
        if isinstance(message, bytes):
            return self._attach(message)
        if self._assembly is not None:
            raise ProtocolViolation(CloseReason.MALFORMED, "text where an attachment is due")
        try:
            packet = decode(message, max_attachments=self._max_attachments, revision=self._revision)
        except MalformedConnect as fault:
            self._refuse()
            return ConnectMalformed(fault.namespace, fault.query)
        if packet.type is PacketType.CONNECT:
            return self._connect(packet)
        if packet.namespace not in self._connected:
            raise ProtocolViolation(CloseReason.MALFORMED, "packet for a namespace that is not connected")
        if packet.type is PacketType.DISCONNECT:
            self.disconnect(packet.namespace)
            return Disconnected(packet.namespace)
        # Before the first attachment: nothing is kept for an event that will not be delivered.
        _check_name(packet)
        if packet.attachments:
            self._assembly = _Assembly(packet, self._max_attachment_bytes)
            return None
        return _said(packet)

    def accept(self, namespace: str) -> None:
        """The client's CONNECT is granted. Raises ValueError if none is pending."""
        self._decide(namespace)
        self._connected += (namespace,)

    def reject(self, namespace: str) -> None:
        """The client's CONNECT is refused; it may try again. Raises ValueError if none is pending."""
        self._decide(namespace)
        self._refused += 1

    def disconnect(self, namespace: str) -> None:
        """The namespace is left, on either side's wish. Both may wish it at once, so it may have been left."""
        self._connected = _without(self._connected, namespace)

    def is_connected(self, namespace: str) -> bool:
        """Whether events may be sent to the namespace and are taken from it."""
        return namespace in self._connected

    def _connect(self, packet: Packet) -> ConnectRequested | ConnectRefused:
        namespace = packet.namespace
        if namespace in self._connected or namespace in self._pending:
            raise ProtocolViolation(CloseReason.MALFORMED, "second CONNECT to a namespace")
        if namespace not in self._namespaces:
            self._refuse()
            return ConnectRefused(namespace, packet.query)
        self._check_room()
        self._pending += (namespace,)
        auth = packet.data
        assert auth is None or isinstance(auth, dict)
        return ConnectRequested(namespace, auth, packet.query)

    def _refuse(self) -> None:
        self._check_room()
        self._refused += 1

    def _check_room(self) -> None:
        if len(self._pending) + len(self._connected) + self._refused >= self._max_namespaces:
            raise ProtocolViolation(CloseReason.MALFORMED, "too many namespaces")

    def _decide(self, namespace: str) -> None:
        if namespace not in self._pending:
            raise ValueError("no CONNECT is pending")
        self._pending = _without(self._pending, namespace)

    def _attach(self, attachment: bytes) -> Received | None:
        assembly = self._assembly
        if assembly is None:
            raise ProtocolViolation(CloseReason.MALFORMED, "binary that was not announced")
        assembly.room -= len(attachment)
        if assembly.room < 0:
            raise ProtocolViolation(CloseReason.TOO_LARGE, "attachments too large")
        assembly.attachments.append(attachment)
        if len(assembly.attachments) < assembly.head.attachments:
            return None
        self._assembly = None
        packet = reconstruct(assembly.head, assembly.attachments)
        # The server may have ended the namespace while the client was still sending; that is no fault of its.
        return _said(packet) if packet.namespace in self._connected else None


def _check_name(packet: Packet) -> None:
    if packet.type not in (PacketType.EVENT, PacketType.BINARY_EVENT):
        return
    assert isinstance(packet.data, list)
    if packet.data[0] in RESERVED_EVENTS:
        raise ProtocolViolation(CloseReason.RESERVED_EVENT, "reserved event name")


def _said(packet: Packet) -> EventReceived | AckReceived:
    assert isinstance(packet.data, list)
    if packet.type is PacketType.ACK:
        assert packet.id is not None
        return AckReceived(packet.namespace, packet.id, packet.data)
    name, *args = packet.data
    return EventReceived(packet.namespace, name, args, packet.id)


def _without(names: tuple[str, ...], gone: str) -> tuple[str, ...]:
    return tuple(name for name in names if name != gone)
