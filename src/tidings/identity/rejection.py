"""Why a credential was not good enough: one catalogue for the log and the audit trail.

A client never sees a reason. Every rejection is answered with the same words, or it would tell an attacker
how far they came.
"""

from enum import StrEnum


class Reason(StrEnum):
    """The slug that is written into the security log."""

    MALFORMED = "malformed"
    TOO_LONG = "too_long"
    BAD_ALGORITHM = "bad_algorithm"
    BAD_SIGNATURE = "bad_signature"
    CRITICAL_HEADER = "critical_header"
    UNKNOWN_KEY = "unknown_key"
    MISSING_CLAIM = "missing_claim"
    EXPIRED = "expired"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    NOT_YET_VALID = "not_yet_valid"
    ISSUED_IN_FUTURE = "issued_in_future"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_TYPE = "wrong_type"
    REVOKED = "revoked"

    MALFORMED_SUBJECT = "malformed_subject"
    UNKNOWN_USER = "unknown_user"
    INACTIVE_USER = "inactive_user"
    TENANT_SUSPENDED = "tenant_suspended"
    MOVED_TENANT = "moved_tenant"
    BAD_TENANT = "bad_tenant"
    BAD_ROLE = "bad_role"

    MALFORMED_HEADER = "malformed_header"
    CONFLICT = "conflicting_credentials"
    TOKEN_IN_QUERY = "token_in_query"  # noqa: S105 - the name of a fault, no password

    UNKNOWN_TICKET = "unknown_ticket"
    TICKET_PATH = "ticket_path"
    TICKET_ORIGIN = "ticket_origin"
    TICKET_IN_USE = "ticket_in_use"
    TICKET_LATE = "ticket_late"

    UNKNOWN_REPORTER = "unknown_reporter"


class Rejected(Exception):
    """A credential was refused. Whoever answers says UNAUTHENTICATED and nothing else."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class TokenRejected(Rejected):
    """The token itself is not good."""


class UserRejected(Rejected):
    """The token is good, but whom it names may not come in."""


class CredentialRejected(Rejected):
    """The request does not say plainly which one credential it brings."""


class CredentialConflict(CredentialRejected):
    """Two differing credentials in one request."""

    def __init__(self) -> None:
        super().__init__(Reason.CONFLICT)


class TicketRejected(Rejected):
    """The ticket does not open this stream now."""
