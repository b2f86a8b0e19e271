"""The rules of one Socket.IO connection: which namespaces it is connected to, and what may be said when.

Messages in, what the client asked for out. It sends nothing, authenticates nobody and knows no clock: the
caller answers with ``packet``'s encoders and reports its decision with ``accept``, ``reject`` and
``disconnect``. It remembers no ack that the server waits for. A violation leaves it in no particular state;
the connection is at its end.

Source: the Socket.IO protocol document, version 5, "Exchange protocol".
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
    decode,
    reconstruct,
)

MAX_NAMESPACES: Final = 16
"""Namespaces that a connection is connected to or waiting for, and CONNECTs it was ever refused, together."""

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


@dataclass(frozen=True, slots=True)
class ConnectRefused:
    """CONNECT to a namespace that does not exist: answer ``INVALID_NAMESPACE``."""

    namespace: str


@dataclass(frozen=True, slots=True)
class ConnectMalformed:
    """CONNECT with a payload that is no object: answer as to a wrong token, and close."""

    namespace: str


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


class Protocol:
    """One connection's place in the protocol.

    ``namespaces`` are those that exist, shared by all connections. A namespace is pending from its CONNECT
    until the caller decides; only a connected one may be spoken to.
    """

    __slots__ = (
        "_assembly",
        "_connected",
        "_max_attachments",
        "_max_namespaces",
        "_namespaces",
        "_pending",
        "_refused",
    )

    def __init__(
        self,
        namespaces: frozenset[str],
        *,
        max_attachments: int = MAX_ATTACHMENTS,
        max_namespaces: int = MAX_NAMESPACES,
    ) -> None:
        self._namespaces = namespaces
        self._max_attachments = max_attachments
        self._max_namespaces = max_namespaces
        # Tuples, because nearly every connection has one namespace, and the empty one costs nothing.
        self._pending: tuple[str, ...] = ()
        self._connected: tuple[str, ...] = ()
        self._refused = 0
        self._assembly: tuple[Packet, list[bytes]] | None = None

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
            packet = decode(message, max_attachments=self._max_attachments)
        except MalformedConnect as fault:
            self._refuse()
            return ConnectMalformed(fault.namespace)
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
            self._assembly = (packet, [])
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
            return ConnectRefused(namespace)
        self._check_room()
        self._pending += (namespace,)
        auth = packet.data
        assert auth is None or isinstance(auth, dict)
        return ConnectRequested(namespace, auth)

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
        if self._assembly is None:
            raise ProtocolViolation(CloseReason.MALFORMED, "binary that was not announced")
        head, attachments = self._assembly
        attachments.append(attachment)
        if len(attachments) < head.attachments:
            return None
        self._assembly = None
        packet = reconstruct(head, attachments)
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
