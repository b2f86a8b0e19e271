"""Who may open a connection: what is asked for, from where, and whether there is room.

Checks go from the cheapest to the dearest; nothing is authenticated yet. What is refused here is refused as
an HTTP error, before any connection exists.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import parse_qsl

from tidings.delivery.audit import SecurityLog
from tidings.domain.audit import Peer, SecurityEventType
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal
from tidings.identity.credentials import QUERY_NAMES, bearer
from tidings.identity.limiter import Addresses, TokenBucket, ip_key
from tidings.identity.peer import Peers, values
from tidings.identity.rejection import CredentialRejected
from tidings.transports.exchange import RawHeaders
from tidings.transports.socketio.engine import Revision

_BUSY_SPREAD_SECONDS = 5
_BUSY_MOST_SECONDS = 60
_ORIGINS = 64
_UNUSABLE = ""


class OriginPolicy(Protocol):
    """Which web pages may connect; ``identity.origins`` is the product's."""

    def check(self, origin: str | None, *, explicit_token: bool) -> bool: ...

    def cors_headers(self, origin: str | None) -> Sequence[tuple[str, str]]: ...

    def preflight_headers(self, origin: str | None) -> Sequence[tuple[str, str]]: ...


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """What decides who may open a connection at ``path``. ``per_ip`` slots are shared with the streams."""

    path: bytes
    origins: OriginPolicy
    peers: Peers
    bucket: TokenBucket
    slots: Addresses
    per_ip: int
    capacity: int
    allow_v3: bool
    draining: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the query of a request says. ``sid`` is None for a new connection."""

    revision: Revision
    sid: str | None


_USUAL = {
    ("websocket", b"EIO=4&transport=websocket"): Asked(Revision.V4, None),
    ("polling", b"EIO=4&transport=polling"): Asked(Revision.V4, None),
}
"""What stock clients ask for; it needs no reading."""


class Door:
    """Raises what it has against a request as a TidingsError."""

    def __init__(self, keeper: Doorkeeper, audit: SecurityLog) -> None:
        self._keeper = keeper
        self._audit = audit
        self.granted = lru_cache(_ORIGINS)(self._granted)
        """What lets a page of an allowed origin read the answer; ``preflight`` is for ``OPTIONS``."""

    def peer(self, client: str | None, headers: RawHeaders) -> Peer:
        return self._keeper.peers.of(client, headers)

    def asked(self, target: bytes, peer: Peer, transport: str) -> Asked:
        """What a request over one transport asks for (Engine.IO, "Transports"; JSONP is not spoken).

        Raises:
            TidingsError: NOT_FOUND, MALFORMED, or UNAUTHENTICATED for a token in the query, which is
                written down.
        """
        path, _, query = target.partition(b"?")
        if path != self._keeper.path:
            raise TidingsError(ErrorCode.NOT_FOUND)
        usual = _USUAL.get((transport, query))
        if usual is not None:
            return usual
        given = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        parameters = dict(given)
        if not QUERY_NAMES.isdisjoint(name.strip().lower() for name in parameters):
            self.write(SecurityEventType.SECURITY_VIOLATION, peer, "token_in_query")
            raise TidingsError(ErrorCode.UNAUTHENTICATED, detail="token_in_query")
        revision = {"4": Revision.V4, "3": Revision.V3}.get(parameters.get("EIO", ""))
        if len(parameters) != len(given) or revision is None:
            raise TidingsError(ErrorCode.MALFORMED, "Unsupported protocol version")
        if revision is Revision.V3 and not self._keeper.allow_v3:
            raise TidingsError(ErrorCode.MALFORMED, "Unsupported protocol version")
        if parameters.get("transport") != transport or "j" in parameters:
            raise TidingsError(ErrorCode.MALFORMED, "Unknown transport")
        return Asked(revision, parameters.get("sid"))

    def cors(self, headers: RawHeaders, peer: Peer) -> str | None:
        """Check where a page came from; returns its origin, for ``granted``.

        Raises:
            TidingsError: FORBIDDEN.
        """
        origins = values(headers, b"origin")
        origin = ",".join(origins) if origins else None
        if not self._keeper.origins.check(origin, explicit_token=True):
            self.write(SecurityEventType.ORIGIN_REJECTED, peer, "origin not allowed")
            raise TidingsError(ErrorCode.FORBIDDEN, detail="origin")
        return origin

    def _granted(self, origin: str | None, *, preflight: bool = False) -> RawHeaders:
        policy = self._keeper.origins
        granted = policy.preflight_headers(origin) if preflight else policy.cors_headers(origin)
        return [(name.lower().encode(), value.encode()) for name, value in granted]

    def check_room(self, open_now: int) -> None:
        """Raises TidingsError: UNAVAILABLE, with a spread time to come back."""
        keeper = self._keeper
        if keeper.draining():
            raise TidingsError(ErrorCode.UNAVAILABLE, retry_after=_spread(), detail="draining")
        if open_now >= keeper.capacity:
            raise TidingsError(ErrorCode.UNAVAILABLE, retry_after=_spread(), detail="connections")
        if keeper.bucket.take() > 0:
            # The more are refused, the longer it takes to let them in.
            after = int(keeper.bucket.queue(_BUSY_MOST_SECONDS)) + _spread()
            raise TidingsError(ErrorCode.UNAVAILABLE, retry_after=after, detail="handshake rate")

    def take_slot(self, peer: Peer) -> None:
        """Count a connection of an address. Raises TidingsError: TOO_MANY_CONNECTIONS."""
        if peer.ip is not None and not self._keeper.slots.take(ip_key(peer.ip), self._keeper.per_ip):
            self.write(SecurityEventType.CONNECTION_LIMIT_EXCEEDED, peer, "connections per address")
            raise TidingsError(ErrorCode.TOO_MANY_CONNECTIONS, retry_after=_spread())

    def give_slot(self, peer: Peer) -> None:
        if peer.ip is not None:
            self._keeper.slots.give(ip_key(peer.ip))

    def write(
        self, event: SecurityEventType, peer: Peer, reason: str | None, client_id: str | None = None
    ) -> None:
        self._audit.write(event, peer=peer, reason=reason, client_id=client_id)

    def disconnected(self, peer: Peer, principal: Principal | None, client_id: str, reason: str) -> None:
        self._audit.write(
            SecurityEventType.WEBSOCKET_DISCONNECT,
            peer=peer,
            principal=principal,
            client_id=client_id,
            reason=reason,
        )


def token_of(headers: RawHeaders) -> str | None:
    """The token of the Authorization header; without one in it, one that is not good: CONNECT is answered so."""
    try:
        return bearer(values(headers, b"authorization"))
    except CredentialRejected:
        return _UNUSABLE


def _spread() -> int:
    """Seconds until a refused client may come back, spread so that they do not all come at once."""
    return random.randint(1, _BUSY_SPREAD_SECONDS)  # noqa: S311  no secret depends on it
