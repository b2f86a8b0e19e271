"""Socket.IO on one connection: what was said goes to its namespace, in the order in which it came.

Namespaces decide who may connect and what events do. Work that has to wait runs in one short-lived task per
connection at a time; what comes meanwhile waits for its turn, and a client that is far ahead is not read from.
"""

import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any, Protocol

import structlog

from tidings import metrics
from tidings.domain.channel import Channel
from tidings.domain.errors import CloseReason
from tidings.domain.people import Principal
from tidings.hub.session import Session
from tidings.identity.credentials import token_in_query
from tidings.transports.socketio import packet
from tidings.transports.socketio.connection import Connection, Link, Terms, Visitor
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.format import EventFormat, event_format
from tidings.transports.socketio.protocol import (
    INVALID_NAMESPACE,
    AckReceived,
    ConnectMalformed,
    ConnectRefused,
    ConnectRequested,
    Disconnected,
    EventReceived,
    Received,
)
from tidings.transports.socketio.protocol import Protocol as Rules

_BACKLOG = 64
"""Events of one connection that may wait for their turn; then it is not read from."""

_log = structlog.stdlib.get_logger("tidings.socketio")


class Refused(Exception):
    """A namespace does not let a client in: ``data`` is the CONNECT_ERROR's payload as JSON.

    None sends no CONNECT_ERROR: stock clients take one for final and come back only when their transport is lost.
    """

    def __init__(self, data: bytes | None, reason: CloseReason) -> None:
        super().__init__(reason.text)
        self.data = data
        self.reason = reason


class Namespace(Protocol):
    """The application side of a namespace. None of its calls may raise anything but ``Refused``."""

    async def connect(self, client: "Client", auth: dict[str, Any] | None) -> None:
        """Let the client in (``client.welcome``) or raise ``Refused``. The connection may end meanwhile."""

    async def event(self, client: "Client", name: str, args: list[Any], ack: int | None) -> None:
        """Do what the event asks for; answer the ack if there is one."""

    def malformed(self, client: "Client") -> Refused:
        """The refusal of a CONNECT whose payload is no object."""

    def exposed(self, client: "Client") -> Refused:
        """The refusal of a CONNECT with a token where addresses are, which end up in logs."""

    def carried(self, client: "Client") -> None:
        """The client's connection has another carrier, so that its ``format`` is another."""

    def expiring(self, client: "Client") -> None:
        """The client's time is nearly up: say so."""

    def left(self, client: "Client", reason: CloseReason) -> None:
        """The client is gone; called once for each that ``connect`` let in."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is spoken on all connections of an endpoint. ``names`` are those of ``namespaces``, one set for all."""

    namespaces: dict[str, Namespace]
    names: frozenset[str]
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    max_attachments: int


class Client:
    """One connection's membership of one namespace. This is the hub's wire."""

    __slots__ = ("connection", "namespace", "session", "sid", "until", "warn_at")

    def __init__(self, connection: "Conversation", namespace: str, sid: str) -> None:
        self.connection = connection
        self.namespace = namespace
        self.sid = sid
        self.session: Session | None = None
        self.warn_at = inf
        self.until = inf

    @property
    def open(self) -> bool:
        return self.connection.clients.get(self.namespace) is self

    @property
    def format(self) -> EventFormat:
        """How events of channels are written to it."""
        return event_format(self.namespace, self.connection.framing)

    def welcome(self, data: bytes, event: tuple[str, bytes, str] | None = None) -> None:
        """Answer CONNECT, and at once with a first ``event``: name, data, position. From now on events are taken."""
        self.connection.rules.accept(self.namespace)
        # Socket.IO 2 takes no payload here (protocol 4).
        known = data if self.connection.revision is Revision.V4 else b""
        answer = [packet.encode_connect(self.namespace, known)]
        if event is not None:
            name, argument, position = event
            answer.append(packet.encode_event(self.namespace, name, argument, position=position))
        self.connection.send(*answer)

    def emit(self, name: str, data: bytes, position: str | None = None) -> None:
        self.connection.send(packet.encode_event(self.namespace, name, data, position=position))

    def emit_args(self, name: str, args: Sequence[Any]) -> None:
        """An event with any arguments, bytes among them."""
        message, attachments = packet.encode_args(packet.PacketType.EVENT, self.namespace, [name, *args])
        self.connection.send(message, attachments=attachments)

    def acknowledge(self, ack: int, data: bytes) -> None:
        self.connection.send(packet.encode_ack(self.namespace, ack, data))

    def acknowledge_args(self, ack: int, args: Sequence[Any]) -> None:
        """An answer of any arguments, bytes among them."""
        message, attachments = packet.encode_args(packet.PacketType.ACK, self.namespace, args, ack)
        self.connection.send(message, attachments=attachments)

    def expire(self, until: float, warn_at: float) -> None:
        """End at ``until`` (monotonic seconds), and have the namespace say so at ``warn_at``."""
        self.until, self.warn_at = until, warn_at
        if self.open:
            self.connection.reschedule()

    def close(self, reason: CloseReason) -> None:
        self.connection.close(reason)

    def finished(self, channel: Channel) -> None:
        """A channel is over: nothing to do, the hub lets go of it."""

    def tell(self, event: str, data: bytes) -> None:
        # Who is still being let in hears nothing before the welcome, and there how things stand.
        if self.open:
            self.emit(event, data)


class Conversation(Connection):
    """Socket.IO state of one client."""

    __slots__ = ("_assembling_until", "_backlog", "_joining", "_offer", "_principal", "clients", "rules")

    def __init__(self, offer: Offer, terms: Terms, link: Link, visitor: Visitor) -> None:
        super().__init__(terms, link, visitor)
        self.clients: dict[str, Client] = {}
        self.rules = Rules(offer.names, max_attachments=offer.max_attachments, revision=visitor.revision)
        self._offer = offer
        self._principal: Principal | None = None
        self._joining: Client | None = None
        self._backlog: deque[Received] | None = None
        self._assembling_until = inf

    @property
    def idle(self) -> bool:
        return not self.clients

    def greeting(self) -> Sequence[bytes]:
        """A client of Socket.IO 2 takes itself for connected to the main namespace once it is told so."""
        if self.revision is Revision.V4 or packet.MAIN_NAMESPACE in self._offer.names:
            return ()
        return (packet.encode_connect(packet.MAIN_NAMESPACE),)

    def opening(self, upgrades: tuple[str, ...] = ()) -> bytes:
        if self.revision is Revision.V3 and packet.MAIN_NAMESPACE in self._offer.names:
            self._take(self.rules.receive(packet.encode_connect(packet.MAIN_NAMESPACE).decode()))
        return super().opening(upgrades)

    def said(self, message: str | bytes) -> None:
        self._take(self.rules.receive(message))
        if not self.rules.assembling:
            self._assembling_until = inf
        elif self._assembling_until == inf:
            # Attachments are waited for no longer than a first CONNECT is.
            self._assembling_until = time.monotonic() + self._terms.connect_timeout
            self.reschedule()

    def farewell(self) -> Sequence[bytes]:
        connected = filter(self.rules.is_connected, self.clients)
        return [packet.encode_disconnect(namespace) for namespace in connected]

    def left(self, reason: CloseReason) -> Principal | None:
        clients, self.clients = self.clients, {}
        for client in clients.values():
            self._offer.namespaces[client.namespace].left(client, reason)
        return self._principal

    def carried(self) -> None:
        joining = () if self._joining is None else (self._joining,)
        for client in (*self.clients.values(), *joining):
            self._offer.namespaces[client.namespace].carried(client)

    def deadline(self) -> float:
        soonest = self._assembling_until
        for client in self.clients.values():
            soonest = min(soonest, client.warn_at, client.until)
        return soonest

    def overdue(self, now: float) -> None:
        if now >= self._assembling_until:
            self.close(CloseReason.MALFORMED)
            return
        for client in list(self.clients.values()):
            if now >= client.until:
                self.close(CloseReason.TOKEN_EXPIRED)
                return
            if now >= client.warn_at:
                client.warn_at = inf
                self._offer.namespaces[client.namespace].expiring(client)

    def _take(self, received: Received | None) -> None:
        if received is None or isinstance(received, AckReceived):
            return
        if isinstance(received, ConnectRefused | ConnectMalformed) and token_in_query(received.query):
            client = Client(self, received.namespace, "")
            self._refuse(client, self._application(received.namespace).exposed(client))
        elif isinstance(received, ConnectRefused):
            metrics.refusals.labels("socket", "INVALID_NAMESPACE").inc()
            _log.info("namespace refused", clientId=self.id, code="INVALID_NAMESPACE", ip=self.peer.ip)
            self.send(packet.encode_connect_error(received.namespace, INVALID_NAMESPACE))
        elif isinstance(received, Disconnected):
            self._leave(received.namespace)
        elif self._backlog is None:
            self._backlog = deque((received,))
            self._offer.spawn(self._work())
        else:
            self._backlog.append(received)
            if len(self._backlog) >= _BACKLOG:
                self.read(on=False)

    async def _work(self) -> None:
        while self._backlog:
            try:
                await self._do(self._backlog.popleft())
            except Exception:  # noqa: BLE001  a fault of ours must not leave the connection half-open
                _log.exception("connection failed", clientId=self.id)
                self.close(CloseReason.INTERNAL_ERROR)
            if len(self._backlog) == _BACKLOG // 2:
                self.read(on=True)
        self._backlog = None

    async def _do(self, received: Received) -> None:
        if isinstance(received, ConnectRequested):
            await self._connect(received)
        elif isinstance(received, ConnectMalformed):
            client = Client(self, received.namespace, "")
            self._refuse(client, self._application(received.namespace).malformed(client))
        elif isinstance(received, EventReceived):
            client_or_none = self.clients.get(received.namespace)
            if client_or_none is not None:
                application = self._offer.namespaces[received.namespace]
                await application.event(client_or_none, received.name, received.args, received.ack_id)

    async def _connect(self, request: ConnectRequested) -> None:
        if self.ended:
            return
        application = self._offer.namespaces[request.namespace]
        client = self._joining = Client(self, request.namespace, self.id)
        try:
            if token_in_query(request.query):
                raise application.exposed(client)
            await application.connect(client, request.auth)
        except Refused as refusal:
            if not self._ends:
                self.rules.reject(request.namespace)
                self._refuse(client, refusal)
            return
        finally:
            self._joining = None
        if self._ends:
            application.left(client, CloseReason.TRANSPORT_LOST)
            return
        self.clients[client.namespace] = client
        self._principal = client.session.principal if client.session is not None else None
        self.reschedule()

    def _refuse(self, client: Client, refusal: Refused) -> None:
        if refusal.data is not None:
            self.send(packet.encode_connect_error(client.namespace, refusal.data))
        self.close(refusal.reason)

    def _application(self, namespace: str) -> Namespace:
        known = self._offer.namespaces
        return known.get(namespace) or next(iter(known.values()))

    def _leave(self, namespace: str) -> None:
        client = self.clients.pop(namespace, None)
        if client is not None:
            self._offer.namespaces[namespace].left(client, CloseReason.CLIENT_CLOSED)
            self.reschedule()
