"""One Socket.IO connection, whatever carries it: what was said goes to its namespace, deadlines are kept.

The carrier (``Link``) gives it whole Engine.IO packets and sends what it is given. Namespaces decide who may
connect and what events do. Work that has to wait runs in one short-lived task per connection at a time, in
the order in which it was asked for.
"""

import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from tidings import metrics
from tidings.domain.audit import Peer
from tidings.domain.channel import Channel
from tidings.domain.errors import CloseReason
from tidings.domain.people import Principal
from tidings.hub.outbox import Outbox
from tidings.hub.session import Session
from tidings.hub.wheel import OFF, Wheel
from tidings.transports.socketio import packet
from tidings.transports.socketio.engine import MESSAGE_PREFIX, PING_PACKET, Beat, Engine, Signal
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


class Link(Protocol):
    """A carrier of Engine.IO packets."""

    @property
    def outbox(self) -> Outbox: ...

    def frame(self, packet: bytes) -> bytes:
        """An Engine.IO packet as this carrier's bytes."""

    def shut(self, reason: CloseReason) -> None:
        """End the carrier, politely if it still takes bytes."""

    def read(self, *, on: bool) -> None:
        """Go on reading, or stop: the client is ahead of us."""


class Refused(Exception):
    """A namespace does not let a client in: ``data`` is the CONNECT_ERROR's payload as JSON."""

    def __init__(self, data: bytes, reason: CloseReason) -> None:
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

    def expiring(self, client: "Client") -> None:
        """The client's time is nearly up: say so."""

    def left(self, client: "Client", reason: CloseReason) -> None:
        """The client is gone; called once for each that ``connect`` let in."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What all connections of an endpoint have in common. Times in seconds, sizes in bytes."""

    namespaces: dict[str, Namespace]
    names: frozenset[str]
    """Those of ``namespaces``, one set for all."""
    wheel: Wheel
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    ended: Callable[["Connection", CloseReason, Principal | None], None]
    ping_interval: float
    ping_timeout: float
    connect_timeout: float
    write_timeout: float
    lifetime: float
    max_payload: int
    max_attachments: int


class Client:
    """One connection's membership of one namespace. This is the hub's wire."""

    __slots__ = ("connection", "namespace", "session", "sid", "until", "warn_at")

    def __init__(self, connection: "Connection", namespace: str, sid: str) -> None:
        self.connection = connection
        self.namespace = namespace
        self.sid = sid
        self.session: Session | None = None
        self.warn_at: float | None = None
        self.until: float | None = None

    @property
    def open(self) -> bool:
        return self.connection.clients.get(self.namespace) is self

    def welcome(self, data: bytes, event: tuple[str, bytes, str] | None = None) -> None:
        """Answer CONNECT, and at once with a first ``event``: name, data, position. From now on events are taken."""
        self.connection.rules.accept(self.namespace)
        answer = [packet.encode_connect(self.namespace, data)]
        if event is not None:
            name, argument, position = event
            answer.append(packet.encode_event(self.namespace, name, argument, position=position))
        self.connection.send(*answer)

    def emit(self, name: str, data: bytes, position: str | None = None) -> None:
        self.connection.send(packet.encode_event(self.namespace, name, data, position=position))

    def acknowledge(self, ack: int, data: bytes) -> None:
        self.connection.send(packet.encode_ack(self.namespace, ack, data))

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
        self.emit(event, data)


class Connection:
    """Engine.IO and Socket.IO state of one client, and its deadlines."""

    __slots__ = (
        "_backlog",
        "_ends",
        "_engine",
        "_link",
        "_principal",
        "_terms",
        "clients",
        "id",
        "opened",
        "peer",
        "rules",
        "tick",
        "token",
    )

    def __init__(self, terms: Terms, link: Link, connection_id: str, peer: Peer, token: str | None) -> None:
        now = time.monotonic()
        self.id = connection_id
        self.peer = peer
        self.token = token
        self.opened = now
        self.tick = OFF
        self.clients: dict[str, Client] = {}
        self.rules = Rules(terms.names, max_attachments=terms.max_attachments)
        self._engine = Engine(now, ping_interval=terms.ping_interval, ping_timeout=terms.ping_timeout)
        self._terms = terms
        self._link = link
        self._principal: Principal | None = None
        self._backlog: deque[Received] | None = None
        self._ends = False
        self.reschedule()

    @property
    def outbox(self) -> Outbox:
        return self._link.outbox

    @property
    def ended(self) -> bool:
        return self._ends

    def receive(self, frame: str | bytes) -> None:
        """Take one Engine.IO packet."""
        if self._ends:
            return
        try:
            said = self._engine.receive(frame)
            if said is Signal.CLOSE:
                self.close(CloseReason.CLIENT_CLOSED)
            if isinstance(said, Signal):
                return
            received = self.rules.receive(said)
        except packet.ProtocolViolation as violation:
            _log.info("protocol violation", clientId=self.id, reason=str(violation), ip=self.peer.ip)
            self.close(violation.reason)
            return
        if received is not None:
            self._take(received)

    def send(self, *messages: bytes) -> None:
        """Send Socket.IO packets."""
        if self._ends:
            return
        frames = b"".join([self._link.frame(MESSAGE_PREFIX + message) for message in messages])
        if not self.outbox.send(frames):
            self.close(CloseReason.SLOW_CONSUMER)

    def close(self, reason: CloseReason) -> None:
        """End the connection. A client that must not come back by itself is told so (DISCONNECT)."""
        if self._ends:
            return
        if 200 <= reason.number < 300 and not self.outbox.congested:  # noqa: PLR2004  the catalogue's range
            for client in self.clients.values():
                if self.rules.is_connected(client.namespace):
                    self.send(packet.encode_disconnect(client.namespace))
        self.lost(reason)
        self._link.shut(reason)

    def lost(self, reason: CloseReason) -> None:
        """The carrier is gone, or about to go."""
        if self._ends:
            return
        self._ends = True
        self._terms.wheel.cancel(self)
        clients, self.clients = self.clients, {}
        for client in clients.values():
            self._terms.namespaces[client.namespace].left(client, reason)
        self._terms.ended(self, reason, self._principal)

    def reschedule(self) -> None:
        self._terms.wheel.schedule(self, self._next())

    def due(self, now: float) -> float | None:
        """The wheel's call: see what has come due."""
        if now >= self.opened + self._terms.lifetime:
            self.close(CloseReason.LIFETIME)
        elif not self.clients and now >= self.opened + self._terms.connect_timeout:
            self.close(CloseReason.AUTH_TIMEOUT)
        elif self._engine_due(now):
            self.close(CloseReason.PING_TIMEOUT)
        elif self.outbox.stalled(now, self._terms.write_timeout):
            self.close(CloseReason.WRITE_STALLED)
        else:
            self._expiry_due(now)
        return None if self._ends else self._next()

    def _next(self) -> float:
        deadlines = [self.opened + self._terms.lifetime, self._engine.next_deadline()]
        if not self.clients:
            deadlines.append(self.opened + self._terms.connect_timeout)
        if self.outbox.congested:
            deadlines.append(time.monotonic() + self._terms.write_timeout / 4)
        for client in self.clients.values():
            deadlines += [when for when in (client.warn_at, client.until) if when is not None]
        return min(deadlines)

    def _engine_due(self, now: float) -> bool:
        beat = self._engine.due(now)
        if beat is Beat.PING:
            self.outbox.send(self._link.frame(PING_PACKET))
        return beat is Beat.TIMEOUT

    def _expiry_due(self, now: float) -> None:
        for client in list(self.clients.values()):
            if client.until is not None and now >= client.until:
                self.close(CloseReason.TOKEN_EXPIRED)
                return
            if client.warn_at is not None and now >= client.warn_at:
                client.warn_at = None
                self._terms.namespaces[client.namespace].expiring(client)

    def _take(self, received: Received) -> None:
        if isinstance(received, ConnectRefused):
            metrics.refusals.labels("socket", "INVALID_NAMESPACE").inc()
            _log.info("namespace refused", clientId=self.id, code="INVALID_NAMESPACE", ip=self.peer.ip)
            self.send(packet.encode_connect_error(received.namespace, INVALID_NAMESPACE))
        elif isinstance(received, Disconnected):
            self._leave(received.namespace)
        elif isinstance(received, AckReceived):
            return
        elif self._backlog is None:
            self._backlog = deque((received,))
            self._terms.spawn(self._work())
        else:
            self._backlog.append(received)
            if len(self._backlog) >= _BACKLOG:
                self._link.read(on=False)

    async def _work(self) -> None:
        while self._backlog:
            try:
                await self._do(self._backlog.popleft())
            except Exception:  # noqa: BLE001  a fault of ours must not leave the connection half-open
                _log.exception("connection failed", clientId=self.id)
                self.close(CloseReason.INTERNAL_ERROR)
            if len(self._backlog) == _BACKLOG // 2:
                self._link.read(on=True)
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
                application = self._terms.namespaces[received.namespace]
                await application.event(client_or_none, received.name, received.args, received.ack_id)

    async def _connect(self, request: ConnectRequested) -> None:
        if self.ended:
            return
        application = self._terms.namespaces[request.namespace]
        client = Client(self, request.namespace, self.id)
        try:
            await application.connect(client, request.auth)
        except Refused as refusal:
            if not self._ends:
                self.rules.reject(request.namespace)
                self._refuse(client, refusal)
            return
        if self._ends:
            application.left(client, CloseReason.TRANSPORT_LOST)
            return
        self.clients[client.namespace] = client
        self._principal = client.session.principal if client.session is not None else None
        self.reschedule()

    def _refuse(self, client: Client, refusal: Refused) -> None:
        self.send(packet.encode_connect_error(client.namespace, refusal.data))
        self.close(refusal.reason)

    def _application(self, namespace: str) -> Namespace:
        known = self._terms.namespaces
        return known.get(namespace) or next(iter(known.values()))

    def _leave(self, namespace: str) -> None:
        client = self.clients.pop(namespace, None)
        if client is not None:
            self._terms.namespaces[namespace].left(client, CloseReason.CLIENT_CLOSED)
            self.reschedule()
