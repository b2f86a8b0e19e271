"""From a token's claims to the principal they stand for, as the database knows them now.

In ``directory`` mode tenant and role come from the database and never from the token; in ``claims`` mode a
trusted issuer's claims are handed to ``provision``, which makes the user on first sight. No SQL here: loading
and provisioning are passed in.
"""

import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace

from tidings.domain.ids import is_id
from tidings.domain.people import Principal, Role, Tenant, TenantId, TenantStatus, User, UserId, is_slug
from tidings.identity.batch import Batcher
from tidings.identity.lru import Lru
from tidings.identity.rejection import Reason, UserRejected
from tidings.identity.tokens import Claims

Account = tuple[User, Tenant]
Load = Callable[[Collection[UserId]], Awaitable[Mapping[UserId, Account]]]
Provision = Callable[[Claims], Awaitable[Account]]

REMEMBERED_USERS = 10_000
_ISSUER_SUBJECT = re.compile(r"[\x21-\x2e\x30-\x7e]{1,128}")


@dataclass(frozen=True, slots=True)
class _Known:
    account: Account
    claimed: tuple[str | None, str | None] | None
    until: float
    era: int


class Directory:
    """Knows users for ``ttl`` seconds after they were looked up, and looks many up at once.

    An answer is never older than the last ``forget`` of that user or tenant, one that comes while the
    look-up is under way included.
    """

    def __init__(
        self,
        load: Load,
        *,
        provision: Provision | None = None,
        ttl: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
        batch_limit: int = 500,
    ) -> None:
        """``provision`` switches to ``claims`` mode and is used instead of ``load``."""
        self._batcher = Batcher(load, limit=batch_limit)
        self._provision = provision
        self._ttl = ttl
        self._clock = clock
        self._known: Lru[UserId, _Known] = Lru(REMEMBERED_USERS)
        # Eras are counted by forgetting: in which one each user and tenant was forgotten last, and one
        # before which everybody counts as forgotten, so that the notes can be thrown away.
        self._era = 0
        self._forgotten: dict[str, int] = {}
        self._all_forgotten = 0

    async def principal(self, claims: Claims) -> Principal:
        """Whom verified claims stand for.

        Raises:
            UserRejected: nobody, or somebody who may not come in.
            Exception: whatever the look-up raised; it says nothing about the user.
        """
        account = await self._account(claims)
        _check(account)
        user, tenant = account
        return Principal(
            user_id=user.id,
            tenant_id=tenant.id,
            role=user.role,
            email=user.email,
            name=user.name,
            expires_at=claims.expires_at,
            issued_at=claims.issued_at,
            token_id=claims.token_id,
        )

    async def confirm(self, principal: Principal) -> Principal:
        """As who somebody stands who was let in a moment ago. Asks nobody unless something was forgotten since.

        Raises:
            UserRejected: they may not stay.
            Exception: whatever the look-up raised.
        """
        known = self._known.get(principal.user_id)
        account = None if known is None or self._outdated(known) else known.account
        while account is None:
            era = self._era
            account = await self._batcher.get(principal.user_id)
            if account is None:
                raise UserRejected(Reason.UNKNOWN_USER)
            if self._forgotten_since(account, era):
                account = None
        return standing(principal, account)

    def forget(self, user_id: UserId) -> None:
        """The user has changed: look them up anew."""
        self._begin_era(user_id)

    def forget_tenant(self, tenant_id: TenantId) -> None:
        """The tenant has changed: look all its users up anew."""
        self._begin_era(tenant_id)

    def forget_all(self) -> None:
        """Anything may have changed: look everybody up anew."""
        self._era += 1
        self._forgotten.clear()
        self._all_forgotten = self._era

    async def close(self) -> None:
        """Give up the look-ups under way."""
        await self._batcher.close()

    async def _account(self, claims: Claims) -> Account:
        claimed = None if self._provision is None else (claims.tenant, claims.role)
        known = self._known.get(claims.subject)
        if known is not None and (known.claimed != claimed or self._clock() >= known.until):
            known = None
        while known is None or self._outdated(known):
            era, until = self._era, self._clock() + self._ttl
            known = _Known(await self._look_up(claims), claimed, until, era)
            self._known.put(claims.subject, known)
        return known.account

    async def _look_up(self, claims: Claims) -> Account:
        if self._provision is not None:
            _check_issuer_claims(claims)
            return await self._provision(claims)
        if not is_id(claims.subject):
            raise UserRejected(Reason.MALFORMED_SUBJECT)
        account = await self._batcher.get(claims.subject)
        if account is None:
            raise UserRejected(Reason.UNKNOWN_USER)
        return account

    def _begin_era(self, changed: str) -> None:
        if len(self._forgotten) >= REMEMBERED_USERS:
            self.forget_all()
        self._era += 1
        self._forgotten[changed] = self._era

    def _outdated(self, known: _Known) -> bool:
        return self._forgotten_since(known.account, known.era)

    def _forgotten_since(self, account: Account, era: int) -> bool:
        if era == self._era:
            return False
        user, tenant = account
        return any(self._forgotten.get(id_, self._all_forgotten) > era for id_ in (user.id, tenant.id))


def standing(principal: Principal, account: Account | None) -> Principal:
    """The principal as the account now is; None for a user who is gone.

    Raises:
        UserRejected: they may not stay. Who moves to another tenant has to come in anew.
    """
    if account is None:
        raise UserRejected(Reason.UNKNOWN_USER)
    _check(account)
    user, tenant = account
    if tenant.id != principal.tenant_id:
        raise UserRejected(Reason.MOVED_TENANT)
    if (principal.role, principal.email, principal.name) == (user.role, user.email, user.name):
        return principal
    return replace(principal, role=user.role, email=user.email, name=user.name)


def _check(account: Account) -> None:
    user, tenant = account
    if not user.active:
        raise UserRejected(Reason.INACTIVE_USER)
    if tenant.status is not TenantStatus.ACTIVE:
        raise UserRejected(Reason.TENANT_SUSPENDED)


def _check_issuer_claims(claims: Claims) -> None:
    """A trusted issuer names users and tenants as it likes, within what a key and a log line can hold.

    Without a role claim the user is a USER, the least there is.
    """
    if _ISSUER_SUBJECT.fullmatch(claims.subject) is None:
        raise UserRejected(Reason.MALFORMED_SUBJECT)
    if claims.tenant is None or not is_slug(claims.tenant):
        raise UserRejected(Reason.BAD_TENANT)
    if claims.role is not None and claims.role not in Role.__members__:
        raise UserRejected(Reason.BAD_ROLE)
