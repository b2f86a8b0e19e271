"""What administrators do to tenants, users, tokens and nodes, and what they may read of the security log.

Each verb is one transaction that also orders every node to live up to it; nothing is ended or re-derived here.
Who asks may be an ADMIN, for the own tenant, or a SUPER_ADMIN, for all (``identity.policy``).
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.audit import Filter, SecurityEvent
from tidings.domain.clock import milliseconds
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import is_id, new_id
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import Principal, Role, Tenant, TenantId, TenantStatus, User, UserId, is_slug
from tidings.identity.policy import Action, permit
from tidings.identity.tokens import MAX_LIFETIME
from tidings.store import audit, revocations, tenants, users
from tidings.store.database import Database
from tidings.store.paging import Page
from tidings.store.revocations import Revocation

_KEEP = timedelta(seconds=MAX_LIFETIME)
_MAX_TOKENS = 10_000
"""Single tokens that a tenant can have revoked: every process has them in memory."""
_FULL_SECONDS = 3600
_A_MOMENT = timedelta(milliseconds=1)
"""``iat`` is in whole seconds and may be the very second of now; a revocation's moment has to be later."""

_log = structlog.stdlib.get_logger("tidings.admin")


class Orders(Protocol):
    """What a verb asks of ``delivery.orders``."""

    async def give(self, tx: AsyncConnection, *given: Order) -> None: ...

    def committed(self) -> None: ...


class OutOfSight(TidingsError):
    """NOT_FOUND to whoever asked, and yet it is there: of another tenant. Worth a line in the security log."""

    def __init__(self) -> None:
        super().__init__(ErrorCode.NOT_FOUND, detail="of another tenant")


class Administration:
    """The verbs. Each raises FORBIDDEN for what the role may not, NOT_FOUND for what is out of its sight, and
    UNAVAILABLE.
    """

    def __init__(self, database: Database, orders: Orders) -> None:
        self._database = database
        self._orders = orders

    async def put_tenant(
        self, principal: Principal, id_or_slug: str, name: str, status: TenantStatus
    ) -> tuple[Tenant, bool]:
        """The tenant as it is now, and whether it was made. A new one is called what it was asked for by."""
        permit(principal, Action.MANAGE_TENANT)
        if not is_slug(id_or_slug):
            raise TidingsError(ErrorCode.NOT_FOUND)
        new_one = TenantId(id_or_slug if is_id(id_or_slug) else new_id())
        made = Tenant(new_one, id_or_slug, name, status, milliseconds(datetime.now(UTC)))
        async with self._ordering() as tx:
            found = await tenants.find(tx, id_or_slug) or await tenants.ensure(tx, made)
            await tenants.change(tx, found.id, name=name, status=status)
            if found.status is not status:
                await self._orders.give(tx, Order(OrderKind.TENANT, tenant_id=found.id))
        _note("put tenant", principal, found.id, status=status)
        return replace(found, name=name, status=status), found == made

    async def put_user(self, principal: Principal, wanted: User) -> tuple[User, bool]:
        """The user as they are now, and whether they were made. ``created_at`` counts for a new one.

        Raises:
            TidingsError: CONFLICT, another user of the tenant has the address.
        """
        _check_within(principal, Action.MANAGE_USER, wanted.tenant_id)
        _check_rank(principal, wanted.role)
        async with self._ordering() as tx:
            if await tenants.get(tx, wanted.tenant_id) is None:
                raise TidingsError(ErrorCode.NOT_FOUND)
            known = await _find(tx, wanted.id)
            if known is None:
                user = await _insert(tx, wanted)
            else:
                _check_manageable(principal, Action.MANAGE_USER, known)
                user = replace(wanted, created_at=known.created_at)
                await _change(tx, known, user)
                if known.tenant_id != user.tenant_id:
                    # What the old tenant's ADMINs have revoked would be good in the new one.
                    await self._revoke(tx, known.tenant_id, user_id=user.id, issued_before=_now_at_last())
            await self._orders.give(tx, Order(OrderKind.PERSON, user.tenant_id, user.id))
        _note("put user", principal, user.id, role=user.role, active=user.active)
        return user, known is None

    async def deactivate(self, principal: Principal, user_id: UserId) -> User:
        """Keep a user out from now on, whatever token they have. Their data stay."""
        async with self._ordering() as tx:
            user = await _existing(tx, principal, Action.MANAGE_USER, user_id)
            if await users.deactivate(tx, user.tenant_id, user.id):
                await self._orders.give(tx, Order(OrderKind.PERSON, user.tenant_id, user.id))
        _note("deactivate user", principal, user.id)
        return replace(user, active=False)

    async def disconnect(self, principal: Principal, user_id: UserId) -> None:
        """End a user's sockets and streams, on every node. They may come back at once."""
        async with self._ordering() as tx:
            user = await _existing(tx, principal, Action.MANAGE_USER, user_id)
            await self._orders.give(tx, Order(OrderKind.DISCONNECT, user.tenant_id, user.id))
        _note("disconnect user", principal, user.id)

    async def revoke_token(self, principal: Principal, token_id: str) -> None:
        """Revoke the token with this ``jti``: of an ADMIN, if it is of the own tenant. It need not be known.

        Raises:
            TidingsError: RATE_LIMITED, the tenant has revoked too many one by one.
        """
        tenant = permit(principal, Action.REVOKE_TOKENS)
        async with self._ordering() as tx:
            if tenant is not None and await revocations.count_tokens(tx, tenant, but=token_id) >= _MAX_TOKENS:
                raise TidingsError(ErrorCode.RATE_LIMITED, retry_after=_FULL_SECONDS)
            await self._revoke(tx, tenant, token_id=token_id)
        _note("revoke token", principal, token_id)

    async def revoke_tokens_of(
        self, principal: Principal, user_id: UserId, issued_before: datetime | None
    ) -> None:
        """Revoke what was issued to a user before a moment; before now, if none is given."""
        async with self._ordering() as tx:
            user = await _existing(tx, principal, Action.REVOKE_TOKENS, user_id)
            before = issued_before or _now_at_last()
            await self._revoke(tx, user.tenant_id, user_id=user.id, issued_before=before)
        _note("revoke tokens", principal, user.id)

    async def drain_node(self, principal: Principal, node_id: str) -> None:
        """Have a node release its clients and end. That there is one of that name is for the caller to know."""
        permit(principal, Action.MANAGE_NODE)
        async with self._ordering() as tx:
            await self._orders.give(tx, Order(OrderKind.DRAIN, node_id=node_id))
        _note("drain node", principal, node_id)

    async def security_events(
        self,
        principal: Principal,
        wanted: Filter,
        tenant_id: TenantId | None,
        *,
        cursor: str | None,
        limit: int,
    ) -> Page[SecurityEvent]:
        """Some of the log, the newest first: of a tenant, or for a SUPER_ADMIN who names none, of all and none.

        Raises:
            TidingsError: VALIDATION_FAILED, no cursor of ours.
        """
        tenant = permit(principal, Action.READ_SECURITY_EVENTS, tenant_id)
        async with self._database.read() as tx:
            if tenant is None:
                return await audit.page_of_all(tx, wanted, cursor=cursor, limit=limit)
            return await audit.page(tx, tenant, wanted, cursor=cursor, limit=limit)

    @asynccontextmanager
    async def _ordering(self) -> AsyncIterator[AsyncConnection]:
        """A transaction in which orders are given: once it is committed, every node is told to look."""
        async with self._database.write() as tx:
            yield tx
        self._orders.committed()

    async def _revoke(
        self,
        tx: AsyncConnection,
        tenant: TenantId | None,
        *,
        token_id: str | None = None,
        user_id: UserId | None = None,
        issued_before: datetime | None = None,
    ) -> None:
        expires_at = datetime.now(UTC) + _KEEP
        revoked = Revocation(new_id(), tenant, token_id, user_id, issued_before, expires_at)
        await revocations.put(tx, revoked)
        await self._orders.give(tx, Order(OrderKind.TOKENS, tenant, user_id))


def _now_at_last() -> datetime:
    """A moment that whatever was issued until now was issued before."""
    return datetime.now(UTC) + _A_MOMENT


async def _existing(tx: AsyncConnection, principal: Principal, action: Action, user_id: UserId) -> User:
    permit(principal, action)
    user = await _find(tx, user_id)
    if user is None:
        raise TidingsError(ErrorCode.NOT_FOUND)
    _check_manageable(principal, action, user)
    return user


async def _find(tx: AsyncConnection, user_id: UserId) -> User | None:
    """The user of that id: ours, or what a trusted issuer calls them, which may be anything but unprintable."""
    if not user_id.isprintable():
        return None
    found = (await users.by_ids(tx, [user_id])).get(user_id)
    return None if found is None else found[0]


async def _insert(tx: AsyncConnection, wanted: User) -> User:
    if not is_id(wanted.id):
        raise TidingsError(ErrorCode.NOT_FOUND)
    if not await users.insert(tx, wanted):
        raise _address_taken()
    return wanted


async def _change(tx: AsyncConnection, known: User, user: User) -> None:
    namesake = await users.by_email(tx, user.tenant_id, user.email)
    if namesake is not None and namesake.id != user.id:
        raise _address_taken()
    if not await users.change(tx, known.tenant_id, user):
        raise TidingsError(ErrorCode.CONFLICT, "The user was changed by someone else meanwhile")


def _check_within(principal: Principal, action: Action, tenant_id: TenantId) -> None:
    """Raises FORBIDDEN, or ``OutOfSight`` for another tenant than the one that the action is allowed in."""
    if permit(principal, action) not in (None, tenant_id):
        raise OutOfSight


def _check_rank(principal: Principal, role: Role) -> None:
    """An ADMIN "can't make or touch a SUPER_ADMIN" (contract, section 11)."""
    if role is Role.SUPER_ADMIN:
        permit(principal, Action.MANAGE_SUPER_ADMIN)


def _check_manageable(principal: Principal, action: Action, user: User) -> None:
    _check_within(principal, action, user.tenant_id)
    _check_rank(principal, user.role)


def _address_taken() -> TidingsError:
    return TidingsError(ErrorCode.CONFLICT, "Another user of the tenant has this address")


def _note(verb: str, principal: Principal, target: str, **details: object) -> None:
    """What has no event of its own in the security log is in the other one."""
    _log.info(verb, by=principal.user_id, target=target, **details)
