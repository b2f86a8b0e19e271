"""Users: who they are, of which tenant, and how they are found. What they read is in ``receipts``."""

from collections.abc import Collection, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Select, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.people import Role, Tenant, TenantId, User, UserId
from tidings.store import tenants as tenants_store
from tidings.store.dialect import insert_into, listed
from tidings.store.paging import Page, page_of, read_cursor
from tidings.store.stroke import Statements
from tidings.store.tables import tenants, users
from tidings.store.tenancy import crosses_tenants

_COLUMNS = (
    users.c.id,
    users.c.tenant_id,
    users.c.email,
    users.c.name,
    users.c.role,
    users.c.active,
    users.c.created_at,
)


def _user_of(row: Sequence[Any]) -> User:
    user_id, tenant_id, email, name, role, active, created_at = row
    return User(user_id, tenant_id, email, name, Role(role), active, created_at)


@crosses_tenants("a token names its user and nothing else; the tenant is what is being asked")
async def by_ids(tx: Statements, ids: Collection[UserId]) -> dict[UserId, tuple[User, Tenant]]:
    """Those of ``ids`` that exist, each with the tenant, in one query whatever their number (<= 10,000)."""
    width = len(_COLUMNS)
    rows = await tx.execute(_by_ids(tx.dialect.name), {"ids": list(ids)})
    found = ((_user_of(row[:width]), tenants_store.tenant_of(row[width:])) for row in rows)
    return {user.id: (user, tenant) for user, tenant in found}


@cache
def _by_ids(dialect: str) -> Select[*tuple[Any, ...]]:
    return (
        select(*_COLUMNS, *tenants_store.COLUMNS)
        .join_from(users, tenants, tenants.c.id == users.c.tenant_id)
        .where(users.c.id.in_(listed(dialect, "ids")))
    )


async def get(tx: AsyncConnection, tenant: TenantId, user: UserId) -> User | None:
    query = select(*_COLUMNS).where(users.c.id == user, users.c.tenant_id == tenant)
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _user_of(row)


async def by_email(tx: AsyncConnection, tenant: TenantId, email: str) -> User | None:
    """The tenant's user with this address, whatever its case."""
    query = select(*_COLUMNS).where(users.c.tenant_id == tenant, users.c.email_key == email.casefold())
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _user_of(row)


@crosses_tenants("the command line, which owns the whole database, is given an address alone")
async def by_email_anywhere(tx: AsyncConnection, email: str) -> tuple[User, ...]:
    """Every user with this address, one at most in a tenant."""
    query = select(*_COLUMNS).where(users.c.email_key == email.casefold()).order_by(users.c.id)
    return tuple(_user_of(row) for row in await tx.execute(query))


async def insert(tx: AsyncConnection, user: User) -> bool:
    """Add a user; False, and nothing has changed, if the id or the tenant's address is taken."""
    statement = insert_into(tx, users).values(id=user.id, created_at=user.created_at, **_values(user))
    added = await tx.execute(statement.on_conflict_do_nothing())
    return added.rowcount == 1


async def change(tx: AsyncConnection, tenant: TenantId, user: User) -> bool:
    """Make the user of ``tenant`` what ``user`` says; False if that tenant has no such user.

    Who moves to another tenant takes the versions of the old one's inbox along, so that the version of what
    is unread, a sum, never goes back.

    Raises:
        TidingsError: CONFLICT, the address is taken.
    """
    left = select(tenants.c.inbox_version).where(tenants.c.id == users.c.tenant_id).scalar_subquery()
    moved = users.c.inbox_version + left + 1
    statement = (
        update(users)
        .where(users.c.id == user.id, users.c.tenant_id == tenant)
        .values(
            inbox_version=case((users.c.tenant_id != user.tenant_id, moved), else_=users.c.inbox_version),
            **_values(user),
        )
    )
    return (await tx.execute(statement)).rowcount == 1


async def deactivate(tx: AsyncConnection, tenant: TenantId, user: UserId) -> bool:
    """Whether there was such a user, active till now."""
    statement = (
        update(users)
        .where(users.c.id == user, users.c.tenant_id == tenant, users.c.active.is_(True))
        .values(active=False)
    )
    return (await tx.execute(statement)).rowcount == 1


async def page(tx: AsyncConnection, tenant: TenantId, *, cursor: str | None, limit: int) -> Page[User]:
    """The tenant's users, the newest first.

    Raises:
        TidingsError: VALIDATION_FAILED, no cursor of ours.
    """
    query = select(*_COLUMNS).where(users.c.tenant_id == tenant).order_by(users.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(users.c.id < read_cursor(cursor))
    found = [_user_of(row) for row in await tx.execute(query)]
    return page_of(found, limit, lambda user: user.id)


def _values(user: User) -> dict[str, object]:
    return {
        "tenant_id": user.tenant_id,
        "email": user.email,
        "email_key": user.email.casefold(),
        "name": user.name,
        "role": user.role.value,
        "active": user.active,
    }
