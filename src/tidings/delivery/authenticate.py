"""From a credential to a principal: the one way in for every surface."""

from tidings import metrics
from tidings.delivery.audit import SecurityLog
from tidings.domain.audit import Peer, SecurityEventType
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal
from tidings.identity.directory import Directory
from tidings.identity.rejection import Reason, Rejected
from tidings.identity.tokens import Claims, TokenVerifier

_successes = metrics.authentications.labels("success")
_failures = metrics.authentications.labels("failure")


class Authenticator:
    """Verifies tokens and looks up whom they stand for; writes down the outcome."""

    def __init__(self, verifier: TokenVerifier, directory: Directory, audit: SecurityLog) -> None:
        self._verifier = verifier
        self._directory = directory
        self._audit = audit

    async def authenticate(
        self, token: str | None, peer: Peer, *, client_id: str | None = None, request_id: str | None = None
    ) -> Principal:
        """Whom the token stands for.

        Raises:
            TidingsError: UNAUTHENTICATED, the same for every fault; UNAVAILABLE when nobody can be looked up.
        """
        if token is None:
            raise self.refuse("missing", peer, client_id=client_id, request_id=request_id)
        try:
            claims = await self._verifier.verify(token)
            principal = await self._directory.principal(claims)
            # Revoked while the user was looked up, or for the tenant that the user turned out to be of.
            self._verifier.recheck(claims_of(principal))
        except Rejected as rejected:
            raise self.refuse(rejected.reason, peer, client_id=client_id, request_id=request_id) from None
        _successes.inc()
        return principal

    async def confirm(
        self, principal: Principal, peer: Peer, *, client_id: str | None = None, request_id: str | None = None
    ) -> Principal:
        """As who somebody stands whose session has just joined, and is found by orders from now on.

        What was ordered between the authentication and that moment is seen here. Raises as ``authenticate`` does.
        """
        try:
            self._verifier.recheck(claims_of(principal))
            return await self._directory.confirm(principal)
        except Rejected as rejected:
            raise self.refuse(rejected.reason, peer, client_id=client_id, request_id=request_id) from None

    async def recheck(self, claims: Claims, peer: Peer, *, request_id: str | None = None) -> Principal:
        """Whom claims stand for that were verified earlier. Raises as ``authenticate`` does."""
        try:
            self._verifier.recheck(claims)
            return await self._directory.principal(claims)
        except Rejected as rejected:
            raise self.refuse(rejected.reason, peer, request_id=request_id) from None

    def refuse(
        self, reason: str, peer: Peer, *, client_id: str | None = None, request_id: str | None = None
    ) -> TidingsError:
        """Write a failed authentication down; returns the error to raise."""
        _failures.inc()
        event = _EVENT_OF.get(reason, SecurityEventType.AUTHENTICATION_FAILED)
        self._audit.write(event, peer=peer, client_id=client_id, request_id=request_id, reason=reason)
        return TidingsError(ErrorCode.UNAUTHENTICATED, detail=reason)


def claims_of(principal: Principal) -> Claims:
    """What a token would say that stands for this principal as it is now."""
    return Claims(
        principal.user_id,
        principal.expires_at,
        principal.issued_at,
        principal.token_id,
        principal.tenant_id,
        principal.role,
        principal.email,
        principal.name,
    )


_EVENT_OF: dict[str, SecurityEventType] = {
    Reason.EXPIRED: SecurityEventType.TOKEN_EXPIRED,
    Reason.REVOKED: SecurityEventType.TOKEN_REVOKED,
    Reason.TOKEN_IN_QUERY: SecurityEventType.SECURITY_VIOLATION,
}
