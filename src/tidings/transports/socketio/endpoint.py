"""Where Socket.IO connections come in, by a WebSocket or by polling, and where polling ones are found again.

Everything here is done within the request, without a task. A connection that polls is known by its ``sid``;
once a WebSocket carries it, all that is known is that nobody may ask for it any more.
"""

import time
from collections.abc import Callable
from typing import Final

import structlog

from tidings import metrics
from tidings.domain.audit import Peer, SecurityEventType
from tidings.domain.crew import Crew
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.people import Principal
from tidings.transports.exchange import RawHeaders, Reply, Request, Successor, Taker, Upgrade
from tidings.transports.socketio import handshake, polling, websocket
from tidings.transports.socketio.connection import Connection, Link, Terms, Visitor
from tidings.transports.socketio.door import Asked, Door, token_of
from tidings.transports.socketio.engine import Revision
from tidings.transports.socketio.polling import Polling
from tidings.transports.socketio.sid import Sids
from tidings.transports.socketio.websocket import NOBODY, WebSocket

_log = structlog.stdlib.get_logger("tidings.socketio")

PATH: Final = b"/socket.io/"
UPGRADES: Final = (websocket.TRANSPORT,)
_BINARY_TYPE = b"application/octet-stream"

Open = Callable[[Terms, Link, Visitor], Connection]
"""Makes a connection of the kind that is spoken here."""


class Endpoint:
    """Opens connections and knows those that are open."""

    def __init__(self, open_connection: Open, terms: Terms, door: Door, crew: Crew | None = None) -> None:
        self._open_connection = open_connection
        self._terms = terms
        self._door = door
        self._sids = Sids(crew)
        self._open: set[Connection] = set()
        self._carriers: dict[str, Polling | None] = {}
        self._gauges = {
            transport: _Gauges(transport) for transport in (polling.TRANSPORT, websocket.TRANSPORT)
        }

    def __len__(self) -> int:
        return len(self._open)

    @property
    def max_body(self) -> int:
        return self._terms.max_payload

    # What the HTTP connection calls.

    def elsewhere(self, target: bytes) -> int | None:
        """Checks and counts of a session's requests are its owner's, so this comes before them."""
        return self._sids.elsewhere(target)

    def upgrade(self, upgrade: Upgrade) -> Successor | TidingsError:
        """Take a WebSocket handshake, or say why not."""
        gauges = self._gauges[websocket.TRANSPORT]
        try:
            peer = self._door.peer(upgrade.client, upgrade.headers)
            asked = self._door.asked(upgrade.target, peer, websocket.TRANSPORT)
            self._door.cors(upgrade.headers, peer)
            if asked.sid is not None:
                return self._probe(upgrade, peer, asked)
            gauges.attempts.inc()
            return self._connect(upgrade, peer, asked)
        except TidingsError as error:
            gauges.failed(error)
            return error

    def begin(self, request: Request, reply: Reply) -> Taker | None:
        """Take a request of a polling client."""
        cors: RawHeaders = []
        try:
            peer = self._door.peer(request.client, request.headers)
            origin = self._door.cors(request.headers, peer)
            if request.method == b"OPTIONS":
                # Answered even while draining, so that the page may read the 503 of what it is about to ask.
                reply.answer(204, self._door.granted(origin, preflight=True), b"")
                return None
            cors = self._door.granted(origin)
            asked = self._door.asked(request.target, peer, polling.TRANSPORT)
            if asked.sid is None:
                self._open_polling(request, reply, peer, asked, cors)
                return None
            return self._exchange(request, reply, self._find(asked), cors)
        except TidingsError as error:
            self._gauges[polling.TRANSPORT].failed(error)
            reply.refuse(error, cors)
            return None

    def turn_away(self) -> None:
        """End those that nobody has let in yet: they have nothing to finish here."""
        for connection in [each for each in self._open if each.idle]:
            connection.close(CloseReason.DRAINING)

    def close(self) -> None:
        """End what is still open."""
        for connection in list(self._open):
            connection.close(CloseReason.DRAINING)

    # What connections and carriers call.

    def ended(self, connection: Connection, reason: CloseReason, principal: Principal | None) -> None:
        """Count a connection out."""
        self._open.discard(connection)
        metrics.connections_closed.labels(connection.transport, reason.name).inc()
        self._gauges[connection.transport].gone(time.monotonic() - connection.opened)
        if reason is CloseReason.AUTH_TIMEOUT:
            self._door.write(
                SecurityEventType.AUTHENTICATION_TIMEOUT, connection.peer, reason.text, connection.id
            )
        self._door.disconnected(connection.peer, principal, connection.id, reason.text)
        self._door.give_slot(connection.peer)
        if self._carriers.get(connection.id, self) is None:
            del self._carriers[connection.id]

    def polled(self, carrier: Polling) -> None:
        """A connection polls no more: it has ended, or has been upgraded."""
        if carrier.over:
            self._carriers.pop(carrier.sid, None)
            return
        self._carriers[carrier.sid] = None
        self._gauges[polling.TRANSPORT].left()
        self._gauges[websocket.TRANSPORT].came()

    # The parts.

    def _connect(self, upgrade: Upgrade, peer: Peer, asked: Asked) -> WebSocket:
        self._door.check_room(len(self._open))
        answer = handshake.accept(upgrade.headers)
        self._door.take_slot(peer)
        carrier = self._websocket(upgrade, asked.revision)
        connection = self._admit(carrier, upgrade.headers, peer, asked)
        carrier.begin(connection, answer + connection.opening(), upgrade.rest)
        return carrier

    def _open_polling(
        self, request: Request, reply: Reply, peer: Peer, asked: Asked, cors: RawHeaders
    ) -> None:
        self._gauges[polling.TRANSPORT].attempts.inc()
        if request.method != b"GET":
            raise TidingsError(ErrorCode.MALFORMED, "A connection is opened by GET")
        self._door.check_room(len(self._open))
        self._door.take_slot(peer)
        carrier = Polling(asked.revision, self._terms.wheel, self._terms.outbox_bytes, self.polled)
        connection = self._admit(carrier, request.headers, peer, asked)
        self._carriers[connection.id] = carrier
        carrier.begin(connection, reply, cors, UPGRADES)

    def _exchange(self, request: Request, reply: Reply, carrier: Polling, cors: RawHeaders) -> Taker | None:
        if request.method == b"GET":
            carrier.poll(reply, cors)
            return None
        if request.method == b"POST":
            return _Post(
                carrier, reply, cors, binary=_BINARY_TYPE in dict(request.headers).get(b"content-type", b"")
            )
        raise TidingsError(ErrorCode.MALFORMED, "Only GET and POST are spoken here")

    def _probe(self, upgrade: Upgrade, peer: Peer, asked: Asked) -> WebSocket:
        taken = self._carriers.get(asked.sid or "", self) is None
        carrier = None if taken else self._find(asked)
        answer = handshake.accept(upgrade.headers)
        successor = self._websocket(upgrade, asked.revision)
        if carrier is None or carrier.probing:
            # The official server lets a second one in to close it, which clients take better than an HTTP error.
            self._gauges[websocket.TRANSPORT].failed(TidingsError(ErrorCode.MALFORMED))
            _log.info("upgrade refused", clientId=asked.sid, reason="second upgrade", ip=peer.ip)
            successor.begin(NOBODY, answer, b"")
            successor.shut(CloseReason.SERVER_CLOSED)
        else:
            successor.begin(carrier.probe(successor), answer, upgrade.rest)
        return successor

    def _websocket(self, upgrade: Upgrade, revision: Revision) -> WebSocket:
        terms = self._terms
        return WebSocket(
            upgrade,
            terms.wheel,
            revision=revision,
            max_payload=terms.max_payload,
            outbox_bytes=terms.outbox_bytes,
        )

    def _admit(self, carrier: Link, headers: RawHeaders, peer: Peer, asked: Asked) -> Connection:
        visitor = Visitor(self._sids.new(), peer, token_of(headers), asked.revision, self.ended)
        connection = self._open_connection(self._terms, carrier, visitor)
        self._open.add(connection)
        self._gauges[carrier.transport].came()
        self._door.write(SecurityEventType.WEBSOCKET_CONNECT, peer, None, connection.id)
        return connection

    def _find(self, asked: Asked) -> Polling:
        carrier = self._carriers.get(asked.sid or "")
        if carrier is None or carrier.revision is not asked.revision:
            raise TidingsError(ErrorCode.MALFORMED, "Unknown session")
        return carrier


class _Post:
    """The body of a POST, on its way to the connection that it is for."""

    __slots__ = ("_binary", "_carrier", "_cors", "_reply")

    def __init__(self, carrier: Polling, reply: Reply, cors: RawHeaders, *, binary: bool) -> None:
        self._carrier = carrier
        self._reply = reply
        self._cors = cors
        self._binary = binary

    def take(self, body: bytes) -> None:
        self._carrier.post(self._reply, self._cors, body, binary=self._binary)

    def oversize(self) -> None:
        self._carrier.oversize()


class _Gauges:
    """The metrics of one transport, looked up once."""

    def __init__(self, transport: str) -> None:
        self._transport = transport
        self._active = 0
        self._peak = 0
        self.attempts = metrics.connection_attempts.labels(transport)
        self._active_gauge = metrics.connections_active.labels(transport)
        self._peak_gauge = metrics.connections_peak.labels(transport)
        self._seconds = metrics.connection_seconds.labels(transport)

    def came(self) -> None:
        self._active += 1
        self._active_gauge.inc()
        if self._active > self._peak:
            self._peak = self._active
            self._peak_gauge.set(self._peak)

    def left(self) -> None:
        self._active -= 1
        self._active_gauge.dec()

    def gone(self, seconds: float) -> None:
        self.left()
        self._seconds.observe(seconds)

    def failed(self, error: TidingsError) -> None:
        metrics.connections_failed.labels(self._transport, error.code.name).inc()
