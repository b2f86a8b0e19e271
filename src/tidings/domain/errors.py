"""The two numbered catalogues: errors that are answered, and reasons for which a connection is closed.

Numbers are for operators and logs; codes and statuses are for clients. The range says whether to try again:

- 1xx: the request is at fault; sending it again changes nothing.
- 2xx: who asks is at fault; a new credential may help.
- 3xx: too much, too soon; try again after the time given.
- 5xx: the server is at fault; try again with patience.
"""

from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple


class _ErrorRow(NamedTuple):
    number: int
    status: int
    title: str


class ErrorCode(Enum):
    """Every error a client can meet (contract, section 3)."""

    MALFORMED = _ErrorRow(100, 400, "Malformed request")
    VALIDATION_FAILED = _ErrorRow(101, 422, "Validation failed")
    UNKNOWN_KIND = _ErrorRow(102, 422, "Unknown job kind")
    UNKNOWN_EVENT = _ErrorRow(103, 422, "Unknown event")
    NOT_FOUND = _ErrorRow(104, 404, "Not found")
    CONFLICT = _ErrorRow(105, 409, "Conflict")
    METHOD_NOT_ALLOWED = _ErrorRow(106, 405, "Method not allowed")
    PAYLOAD_TOO_LARGE = _ErrorRow(107, 413, "Payload too large")
    UNSUPPORTED_MEDIA_TYPE = _ErrorRow(108, 415, "Unsupported media type")
    HEADERS_TOO_LARGE = _ErrorRow(109, 431, "Request header fields too large")
    UPGRADE_REQUIRED = _ErrorRow(110, 426, "Upgrade required")
    RANGE_NOT_SATISFIABLE = _ErrorRow(111, 416, "Range not satisfiable")
    UNAUTHENTICATED = _ErrorRow(200, 401, "Authentication failed")
    FORBIDDEN = _ErrorRow(201, 403, "Forbidden")
    RATE_LIMITED = _ErrorRow(300, 429, "Rate limit exceeded")
    TOO_MANY_CONNECTIONS = _ErrorRow(301, 429, "Too many connections")
    REQUEST_TIMEOUT = _ErrorRow(302, 408, "Request timed out")
    INTERNAL_ERROR = _ErrorRow(500, 500, "Unable to process request")
    UNAVAILABLE = _ErrorRow(501, 503, "Service unavailable")

    @property
    def number(self) -> int:
        return self.value.number

    @property
    def status(self) -> int:
        return self.value.status

    @property
    def title(self) -> str:
        return self.value.title


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault of one input field. ``field`` is a dotted path; the input itself is never repeated."""

    field: str
    message: str

    def to_json(self) -> dict[str, str]:
        return {"field": self.field, "message": self.message}


class TidingsError(Exception):
    """An error that a client is answered with. ``detail`` is for the log alone.

    ``message`` is safe to show; it defaults to the catalogue's title. ``retry_after`` is in whole seconds.
    """

    def __init__(
        self,
        code: ErrorCode,
        message: str | None = None,
        *,
        fields: tuple[FieldError, ...] = (),
        retry_after: int | None = None,
        detail: str | None = None,
    ) -> None:
        super().__init__(detail or message or code.title)
        self.code = code
        self.message = message or code.title
        self.fields = fields
        self.retry_after = retry_after
        self.detail = detail

    def to_json(self) -> dict[str, Any]:
        """The body of ``notification:error`` and of an ack's ``error``."""
        body: dict[str, Any] = {"message": self.message, "code": self.code.name}
        if self.fields:
            body["errors"] = [field.to_json() for field in self.fields]
        if self.retry_after is not None:
            body["retryAfter"] = self.retry_after
        return body


class _CloseRow(NamedTuple):
    number: int
    websocket: int
    text: str


class CloseReason(Enum):
    """Why a connection or stream ended. ``websocket`` is the RFC 6455 (section 7.4) close code.

    Ranges as above; 0xx is an ordinary end.
    """

    CLIENT_CLOSED = _CloseRow(1, 1000, "closed by the client")
    TRANSPORT_LOST = _CloseRow(2, 1006, "the transport was lost")
    COMPLETED = _CloseRow(3, 1000, "the stream is complete")
    SERVER_CLOSED = _CloseRow(4, 1000, "closed by the server")
    MALFORMED = _CloseRow(100, 1002, "malformed packet")
    INVALID_DATA = _CloseRow(101, 1007, "invalid data")
    UNSUPPORTED = _CloseRow(102, 1003, "unsupported data")
    TOO_LARGE = _CloseRow(103, 1009, "message too big")
    RESERVED_EVENT = _CloseRow(104, 1008, "reserved event name")
    PING_TIMEOUT = _CloseRow(105, 1000, "no answer to ping")
    IDLE = _CloseRow(106, 1000, "idle")
    UNAUTHENTICATED = _CloseRow(200, 1008, "authentication failed")
    AUTH_TIMEOUT = _CloseRow(201, 1008, "authentication timed out")
    TOKEN_EXPIRED = _CloseRow(202, 1008, "the token expired")
    REVOKED = _CloseRow(203, 1008, "access was revoked")
    DISCONNECTED = _CloseRow(204, 1008, "disconnected by an administrator")
    ACCOUNT_CLOSED = _CloseRow(205, 1008, "the account may not be used any more")
    TOO_MANY_CONNECTIONS = _CloseRow(300, 1013, "too many connections")
    SLOW_CONSUMER = _CloseRow(301, 1013, "the client reads too slowly")
    WRITE_STALLED = _CloseRow(302, 1013, "a write made no progress")
    LIFETIME = _CloseRow(303, 1012, "maximum connection lifetime")
    DRAINING = _CloseRow(304, 1012, "the server is going away")
    MISSED = _CloseRow(305, 1012, "events were lost: begin anew")
    UNAVAILABLE = _CloseRow(306, 1013, "service unavailable, try again")
    INTERNAL_ERROR = _CloseRow(500, 1011, "internal error")

    @property
    def number(self) -> int:
        return self.value.number

    @property
    def websocket(self) -> int:
        return self.value.websocket

    @property
    def text(self) -> str:
        return self.value.text
