"""Which tokens are revoked, as this process knows: what the database holds, read again every second."""

from datetime import UTC, datetime

from tidings.domain.people import Principal, UserId
from tidings.identity.tokens import Claims
from tidings.store import revocations
from tidings.store.database import Database


class Revocations:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._tokens: frozenset[str] = frozenset()
        self._users: dict[str, float] = {}

    async def load(self) -> bool:
        """Read all that still matter; whether anything has changed.

        Raises:
            TidingsError: UNAVAILABLE; what was known before is kept.
        """
        async with self._database.read() as tx:
            live = await revocations.live(tx, datetime.now(UTC))
        tokens = frozenset(row.token_id for row in live if row.token_id is not None)
        users: dict[str, float] = {}
        for row in live:
            if row.user_id is not None and row.issued_before is not None:
                users[row.user_id] = max(users.get(row.user_id, 0.0), row.issued_before.timestamp())
        changed = (tokens, users) != (self._tokens, self._users)
        self._tokens, self._users = tokens, users
        return changed

    def revoked(self, claims: Claims) -> bool:
        """Whether this token is."""
        return self._concerns(claims.subject, claims.token_id, claims.issued_at)

    def ends(self, principal: Principal) -> bool:
        """Whether the token that a principal came in with is."""
        return self._concerns(principal.user_id, principal.token_id, principal.issued_at)

    def _concerns(self, user: UserId, token_id: str | None, issued_at: float | None) -> bool:
        if token_id is not None and token_id in self._tokens:
            return True
        before = self._users.get(user)
        # A token that does not say when it was issued counts as issued long ago.
        return before is not None and (issued_at or 0.0) < before
