"""The catalogue of security events (contract, section 8): what is written down about who did what."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from tidings.domain.clock import rfc3339


class Level(Enum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class SecurityEventType(Enum):
    """Each event's name, with the level it is logged at."""

    WEBSOCKET_CONNECT = ("WEBSOCKET_CONNECT", Level.INFO)
    WEBSOCKET_DISCONNECT = ("WEBSOCKET_DISCONNECT", Level.INFO)
    SSE_CONNECT = ("SSE_CONNECT", Level.INFO)
    SSE_DISCONNECT = ("SSE_DISCONNECT", Level.INFO)
    AUTHENTICATION_SUCCESS = ("AUTHENTICATION_SUCCESS", Level.INFO)
    ROOM_JOIN = ("ROOM_JOIN", Level.INFO)
    AUTHENTICATION_FAILED = ("AUTHENTICATION_FAILED", Level.WARNING)
    AUTHENTICATION_TIMEOUT = ("AUTHENTICATION_TIMEOUT", Level.WARNING)
    UNAUTHORIZED_ACCESS_ATTEMPT = ("UNAUTHORIZED_ACCESS_ATTEMPT", Level.WARNING)
    ORIGIN_REJECTED = ("ORIGIN_REJECTED", Level.WARNING)
    ROOM_ASSIGNMENT_FAILED = ("ROOM_ASSIGNMENT_FAILED", Level.WARNING)
    TOKEN_EXPIRED = ("TOKEN_EXPIRED", Level.WARNING)
    SECURITY_VIOLATION = ("SECURITY_VIOLATION", Level.ERROR)
    RATE_LIMIT_EXCEEDED = ("RATE_LIMIT_EXCEEDED", Level.ERROR)
    TOKEN_REVOKED = ("TOKEN_REVOKED", Level.ERROR)
    CONNECTION_LIMIT_EXCEEDED = ("CONNECTION_LIMIT_EXCEEDED", Level.ERROR)

    @property
    def level(self) -> Level:
        return self.value[1]


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
            "event": self.event.name,
            "timestamp": rfc3339(self.timestamp),
            "level": self.event.level.value,
            "requestId": self.request_id,
            "nodeId": self.node_id,
        }
        optional = (
            ("clientId", self.client_id),
            ("userId", self.user_id),
            ("tenantId", self.tenant_id),
            ("ip", self.ip),
            ("origin", self.origin),
            ("userAgent", self.user_agent),
            ("reason", self.reason),
            ("count", self.count if self.count > 1 else None),
        )
        line.update((name, value) for name, value in optional if value is not None)
        return line
