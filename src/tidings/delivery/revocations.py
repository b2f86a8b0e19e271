"""Which tokens are revoked, as this process knows: what the database holds, read when ordered and every second."""

from datetime import UTC, datetime

from tidings.domain.people import Principal, Role, TenantId, UserId
from tidings.identity.tokens import Claims
from tidings.store import revocations
from tidings.store.database import Database


class Revocations:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens: dict[str, frozenset[TenantId | None]] = {}
        self._users: dict[str, float] = {}

    async def load(self) -> bool:
        """Read all that still matter; whether anything has changed.

        Raises:
            TidingsError: UNAVAILABLE; what was known before is kept.
        """
        async with self._database.read() as tx:
            live = await revocations.live(tx, datetime.now(UTC))
        tokens: dict[str, frozenset[TenantId | None]] = {}
        users: dict[str, float] = {}
        for row in live:
            if row.token_id is not None:
                tokens[row.token_id] = tokens.get(row.token_id, frozenset()) | {row.tenant_id}
            if row.user_id is not None and row.issued_before is not None:
                users[row.user_id] = max(users.get(row.user_id, 0.0), row.issued_before.timestamp())
        changed = (tokens, users) != (self._tokens, self._users)
        self._tokens, self._users = tokens, users
        return changed

    def revoked(self, claims: Claims) -> bool:
        """Whether this token is. What a tenant's ADMIN has revoked shows when ``claims`` are the directory's."""
        if self._revoked_for_all(claims.subject, claims.issued_at):
            return True
        return self._revoked_itself(claims.token_id, claims.tenant, claims.role)

    def ends(self, principal: Principal) -> bool:
        """Whether the token that a principal came in with is."""
        if self._revoked_for_all(principal.user_id, principal.issued_at):
            return True
        return self._revoked_itself(principal.token_id, principal.tenant_id, principal.role)

    def _revoked_for_all(self, user: UserId, issued_at: float | None) -> bool:
        before = self._users.get(user)
        # A token that does not say when it was issued counts as issued long ago.
        return before is not None and (issued_at or 0.0) < before

    def _revoked_itself(self, token_id: str | None, tenant: str | None, role: str | None) -> bool:
        """By a SUPER_ADMIN, or by an ADMIN of its tenant, whose word is nothing to a SUPER_ADMIN."""
        concerned = self._tokens.get(token_id) if token_id is not None else None
        if concerned is None:
            return False
        return None in concerned or (tenant in concerned and role != Role.SUPER_ADMIN)
