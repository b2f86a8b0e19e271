"""Which tokens are revoked, as this process knows: what the database holds, read when ordered and every second.

Mostly only what is new is read. What has expired meanwhile is forgotten with the next reading of the whole; until
then it concerns no token that would be good.
"""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from tidings.domain.ids import floor_id
from tidings.domain.people import Principal, TenantId, UserId
from tidings.identity.tokens import Claims
from tidings.store import revocations
from tidings.store.database import Database
from tidings.store.revocations import Revocation

_WHOLE_SECONDS = 60.0
"""How often all are read."""
_NEW_SECONDS = 2 * _WHOLE_SECONDS
"""How far back what is new goes by its ids: to the last reading of the whole, and as long again for transactions
that take their time and for clocks of other machines that are behind.
"""


@dataclass(slots=True)
class _Known:
    tokens: dict[str, frozenset[TenantId | None]] = field(default_factory=dict)
    users: dict[str, float] = field(default_factory=dict)

    def add(self, row: Revocation) -> bool:
        """Whether it was news."""
        if row.token_id is not None:
            concerned = self.tokens.get(row.token_id, frozenset())
            self.tokens[row.token_id] = concerned | {row.tenant_id}
            return row.tenant_id not in concerned
        if row.user_id is not None and row.issued_before is not None:
            before, moment = self.users.get(row.user_id, 0.0), row.issued_before.timestamp()
            self.users[row.user_id] = max(before, moment)
            return moment > before
        return False


class Revocations:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._known = _Known()
        self._whole_until = 0.0
        # Of two readings at once the older one must not have the last word.
        self._reading = asyncio.Lock()

    async def load(self, *, whole: bool = False) -> bool:
        """Read what is new, or all that still matter; whether anything has changed.

        Raises:
            TidingsError: UNAVAILABLE; what was known before is kept.
        """
        async with self._reading:
            now = time.monotonic()
            if not whole and now < self._whole_until:
                # Not ``any``: each has to be added.
                return bool(sum([self._known.add(row) for row in await self._read(_new())]))
            known = _Known()
            for row in await self._read(""):
                known.add(row)
            changed = known != self._known
            self._known, self._whole_until = known, now + _WHOLE_SECONDS
            return changed

    async def _read(self, after: str) -> list[Revocation]:
        """A page at a time: other tasks have their turn in between."""
        rows: list[Revocation] = []
        async with self._database.read() as tx:
            while page := await revocations.live(tx, datetime.now(UTC), after=after):
                rows += page
                after = page[-1].id
        return rows

    def revoked(self, claims: Claims) -> bool:
        """Whether this token is. What a tenant's ADMIN has revoked shows when ``claims`` are the directory's."""
        if self._revoked_for_all(claims.subject, claims.issued_at):
            return True
        return self._revoked_itself(claims.token_id, claims.tenant)

    def ends(self, principal: Principal) -> bool:
        """Whether the token that a principal came in with is."""
        if self._revoked_for_all(principal.user_id, principal.issued_at):
            return True
        return self._revoked_itself(principal.token_id, principal.tenant_id)

    def _revoked_for_all(self, user: UserId, issued_at: float | None) -> bool:
        before = self._known.users.get(user)
        # A token that does not say when it was issued counts as issued long ago.
        return before is not None and (issued_at or 0.0) < before

    def _revoked_itself(self, token_id: str | None, tenant: str | None) -> bool:
        """By a SUPER_ADMIN, or by an ADMIN of its tenant: whatever the user's role is now, or a token that was
        revoked would be good again after a promotion. Who moves to another tenant leaves all tokens behind.
        """
        concerned = self._known.tokens.get(token_id) if token_id is not None else None
        return concerned is not None and (None in concerned or tenant in concerned)


def _new() -> str:
    return floor_id(time.time() - _NEW_SECONDS)
