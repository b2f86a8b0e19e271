"""The catalogue of security events (contract, section 8): what is written down about who did what."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tidings.domain.clock import rfc3339
from tidings.domain.people import UserId


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SecurityEventType(StrEnum):
    """What a line of the security log is about."""

    WEBSOCKET_CONNECT = "WEBSOCKET_CONNECT"
    WEBSOCKET_DISCONNECT = "WEBSOCKET_DISCONNECT"
    SSE_CONNECT = "SSE_CONNECT"
    SSE_DISCONNECT = "SSE_DISCONNECT"
    AUTHENTICATION_SUCCESS = "AUTHENTICATION_SUCCESS"
    ROOM_JOIN = "ROOM_JOIN"
    AUTHENTICATION_FAILED = "AUTHENTICATION_FAILED"
    AUTHENTICATION_TIMEOUT = "AUTHENTICATION_TIMEOUT"
    UNAUTHORIZED_ACCESS_ATTEMPT = "UNAUTHORIZED_ACCESS_ATTEMPT"
    ORIGIN_REJECTED = "ORIGIN_REJECTED"
    ROOM_ASSIGNMENT_FAILED = "ROOM_ASSIGNMENT_FAILED"
    TOKEN_EXPIRED = "TOKEN_EXPIRED"  # noqa: S105  the name of an event
    SECURITY_VIOLATION = "SECURITY_VIOLATION"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    TOKEN_REVOKED = "TOKEN_REVOKED"  # noqa: S105  the name of an event
    CONNECTION_LIMIT_EXCEEDED = "CONNECTION_LIMIT_EXCEEDED"

    @property
    def level(self) -> Level:
        return _LEVELS.get(self, Level.INFO)


_LEVELS = {
    SecurityEventType.AUTHENTICATION_FAILED: Level.WARNING,
    SecurityEventType.AUTHENTICATION_TIMEOUT: Level.WARNING,
    SecurityEventType.UNAUTHORIZED_ACCESS_ATTEMPT: Level.WARNING,
    SecurityEventType.ORIGIN_REJECTED: Level.WARNING,
    SecurityEventType.ROOM_ASSIGNMENT_FAILED: Level.WARNING,
    SecurityEventType.TOKEN_EXPIRED: Level.WARNING,
    SecurityEventType.SECURITY_VIOLATION: Level.ERROR,
    SecurityEventType.RATE_LIMIT_EXCEEDED: Level.ERROR,
    SecurityEventType.TOKEN_REVOKED: Level.ERROR,
    SecurityEventType.CONNECTION_LIMIT_EXCEEDED: Level.ERROR,
}


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a wire, as far as it can be known: no more than what the log may hold."""

    ip: str | None = None
    origin: str | None = None
    user_agent: str | None = None


@dataclass(frozen=True, slots=True)
class SecurityEvent:
    """One line of the security log. No field ever holds a token, a ticket or a cookie."""

    event: SecurityEventType
    timestamp: datetime
    request_id: str
    node_id: str
    client_id: str | None = None
    user_id: str | None = None
    tenant_id: str | None = None
    ip: str | None = None
    origin: str | None = None
    user_agent: str | None = None
    reason: str | None = None
    count: int = 1
    """How many alike this line stands for, when a flood was summarised."""

    def to_json(self) -> dict[str, Any]:
        """The contract's fields; those that are not known are left out."""
        line: dict[str, Any] = {
            "event": self.event,
            "timestamp": rfc3339(self.timestamp),
            "level": self.event.level,
            "requestId": self.request_id,
            "nodeId": self.node_id,
        }
        if self.client_id is not None:
            line["clientId"] = self.client_id
        if self.user_id is not None:
            line["userId"] = self.user_id
        if self.tenant_id is not None:
            line["tenantId"] = self.tenant_id
        if self.ip is not None:
            line["ip"] = self.ip
        if self.origin is not None:
            line["origin"] = self.origin
        if self.user_agent is not None:
            line["userAgent"] = self.user_agent
        if self.reason is not None:
            line["reason"] = self.reason
        if self.count > 1:
            line["count"] = self.count
        return line


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are looked for; what is None is not asked for. ``since`` is inclusive, ``until`` is not."""

    event: SecurityEventType | None = None
    user: UserId | None = None
    since: datetime | None = None
    until: datetime | None = None
