"""Where Socket.IO connections come in: the opening handshake is checked, then the connection begins.

What is refused here is refused as an HTTP error, before any WebSocket exists. Checks go from the cheapest to
the dearest; nothing is authenticated yet.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tidings import metrics
from tidings.delivery.audit import SecurityLog
from tidings.domain.audit import Peer, SecurityEventType
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.ids import new_secret
from tidings.domain.people import Principal
from tidings.identity.credentials import QUERY_NAMES, bearer
from tidings.identity.limiter import LocalSlots, TokenBucket, ip_key
from tidings.identity.origins import Origins
from tidings.identity.peer import Peers, values
from tidings.identity.rejection import CredentialRejected
from tidings.transports.http import Successor, Upgrade
from tidings.transports.socketio import handshake
from tidings.transports.socketio.connection import Connection, Terms
from tidings.transports.socketio.websocket import WebSocket

PATH = "/socket.io/"
TRANSPORT = "websocket"
_USUAL = b"/socket.io/?EIO=4&transport=websocket"
"""What a stock client asks for; it needs no reading."""
_BUSY_SPREAD_SECONDS = 5
_UNUSABLE = ""
_attempts = metrics.connection_attempts.labels(TRANSPORT)
_active = metrics.connections_active.labels(TRANSPORT)
_peak = metrics.connections_peak.labels(TRANSPORT)
_seconds = metrics.connection_seconds.labels(TRANSPORT)


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """What decides who may open a connection. ``per_ip`` slots are shared with the streams."""

    origins: Origins
    peers: Peers
    bucket: TokenBucket
    slots: LocalSlots
    per_ip: int
    outbox_bytes: int
    draining: Callable[[], bool]


class Endpoint:
    """Opens connections and knows those that are open."""

    def __init__(self, terms: Callable[["Endpoint"], Terms], door: Doorkeeper, audit: SecurityLog) -> None:
        self._door = door
        self._audit = audit
        self._open: set[Connection] = set()
        self._peak = 0
        self._terms = terms(self)

    def __len__(self) -> int:
        return len(self._open)

    def __call__(self, upgrade: Upgrade) -> Successor | TidingsError:
        """Take a WebSocket handshake, or say why not."""
        _attempts.inc()
        peer = self._door.peers.of(upgrade.client, upgrade.headers)
        try:
            token = self._check(upgrade, peer)
            return self._begin(upgrade, peer, token)
        except TidingsError as error:
            metrics.connections_failed.labels(TRANSPORT, error.code.name).inc()
            return error

    def ended(self, connection: Connection, reason: CloseReason, principal: Principal | None) -> None:
        """Count a connection out."""
        self._open.discard(connection)
        _active.dec()
        metrics.connections_closed.labels(TRANSPORT, reason.name).inc()
        _seconds.observe(time.monotonic() - connection.opened)
        if reason is CloseReason.AUTH_TIMEOUT:
            self._write(SecurityEventType.AUTHENTICATION_TIMEOUT, connection.peer, reason.text, connection.id)
        self._audit.write(
            SecurityEventType.WEBSOCKET_DISCONNECT,
            peer=connection.peer,
            principal=principal,
            client_id=connection.id,
            reason=reason.text,
        )
        if connection.peer.ip is not None:
            self._door.slots.give(ip_key(connection.peer.ip))

    def _check(self, upgrade: Upgrade, peer: Peer) -> str | None:
        if upgrade.target != _USUAL:
            self._check_target(upgrade.target, peer)
        self._check_origin(upgrade, peer)
        if self._door.draining():
            raise TidingsError(ErrorCode.UNAVAILABLE, retry_after=_spread())
        if self._door.bucket.take() > 0:
            raise TidingsError(ErrorCode.UNAVAILABLE, retry_after=_spread(), detail="handshake rate")
        try:
            return bearer(values(upgrade.headers, b"authorization"))
        except CredentialRejected:
            # A header without a token in it is a token that is not good: CONNECT is answered so.
            return _UNUSABLE

    def _check_target(self, target: bytes, peer: Peer) -> None:
        path, _, query = target.decode("latin-1").partition("?")
        if path != PATH:
            raise TidingsError(ErrorCode.NOT_FOUND)
        asked = parse_qsl(query)
        parameters = dict(asked)
        if not QUERY_NAMES.isdisjoint(name.strip().lower() for name in parameters):
            self._write(SecurityEventType.SECURITY_VIOLATION, peer, "token_in_query")
            raise TidingsError(ErrorCode.UNAUTHENTICATED, detail="token_in_query")
        if len(parameters) != len(asked) or parameters.get("EIO") != "4":
            raise TidingsError(ErrorCode.MALFORMED, "Unsupported protocol version")
        if parameters.get("transport") != TRANSPORT or "sid" in parameters:
            raise TidingsError(ErrorCode.MALFORMED, "Unknown transport or session")

    def _check_origin(self, upgrade: Upgrade, peer: Peer) -> None:
        origins = values(upgrade.headers, b"origin")
        if not self._door.origins.check(",".join(origins) if origins else None, explicit_token=True):
            self._write(SecurityEventType.ORIGIN_REJECTED, peer, "origin not allowed")
            raise TidingsError(ErrorCode.FORBIDDEN, detail="origin")

    def _begin(self, upgrade: Upgrade, peer: Peer, token: str | None) -> WebSocket:
        answer = handshake.accept(upgrade.headers)
        self._take_slot(peer)
        terms = self._terms
        limits = (terms.max_payload, self._door.outbox_bytes)
        websocket = WebSocket(upgrade, terms.wheel, limits=limits)
        connection = websocket.begin(answer, terms, new_secret(), peer, token)
        self._open.add(connection)
        _active.inc()
        if len(self._open) > self._peak:
            self._peak = len(self._open)
            _peak.set(self._peak)
        self._write(SecurityEventType.WEBSOCKET_CONNECT, peer, None, connection.id)
        if upgrade.rest:
            asyncio.get_running_loop().call_soon(websocket.data_received, upgrade.rest)
        return websocket

    def _take_slot(self, peer: Peer) -> None:
        if peer.ip is not None and not self._door.slots.take(ip_key(peer.ip), self._door.per_ip):
            self._write(SecurityEventType.CONNECTION_LIMIT_EXCEEDED, peer, "connections per address")
            raise TidingsError(ErrorCode.TOO_MANY_CONNECTIONS, retry_after=_spread())

    def _write(
        self, event: SecurityEventType, peer: Peer, reason: str | None, client_id: str | None = None
    ) -> None:
        self._audit.write(event, peer=peer, reason=reason, client_id=client_id)


def _spread() -> int:
    """Seconds until a refused client may come back, spread so that they do not all come at once."""
    return random.randint(1, _BUSY_SPREAD_SECONDS)  # noqa: S311  no secret depends on it
