"""Tenants. A tenant's own row is asked for by the tenant's id or, where people type it, by its slug."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import bindparam, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.people import Tenant, TenantId, TenantStatus
from tidings.store.dialect import insert_into
from tidings.store.paging import Page, page_of, read_cursor
from tidings.store.stroke import Statements
from tidings.store.tables import tenants
from tidings.store.tenancy import crosses_tenants

COLUMNS = (tenants.c.id, tenants.c.slug, tenants.c.name, tenants.c.status, tenants.c.created_at)
"""What ``tenant_of`` reads, in its order."""
_GET = select(*COLUMNS).where(tenants.c.id == bindparam("the_id"))


def tenant_of(row: Sequence[Any]) -> Tenant:
    """The tenant in a row of ``COLUMNS``."""
    tenant_id, slug, name, status, created_at = row
    return Tenant(tenant_id, slug, name, TenantStatus(status), created_at)


async def get(tx: Statements, tenant: TenantId) -> Tenant | None:
    row = next(iter(await tx.execute(_GET, {"the_id": tenant})), None)
    return None if row is None else tenant_of(row)


@crosses_tenants("who asks does not know yet which tenant the word stands for")
async def find(tx: AsyncConnection, id_or_slug: str) -> Tenant | None:
    """The tenant of that id or, if there is none, of that slug."""
    query = (
        select(*COLUMNS)
        .where(or_(tenants.c.id == id_or_slug, tenants.c.slug == id_or_slug))
        .order_by((tenants.c.id == id_or_slug).desc())
        .limit(1)
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else tenant_of(row)


async def insert(tx: AsyncConnection, tenant: Tenant) -> None:
    """Add a tenant.

    Raises:
        TidingsError: CONFLICT, the id or the slug is taken.
    """
    await tx.execute(insert_into(tx, tenants).values(_row(tenant)))


async def ensure(tx: AsyncConnection, tenant: Tenant) -> Tenant:
    """The tenant of this slug: the one that is there or, if there is none, this one, now added.

    Of several who ask at once, all get the same.
    """
    statement = insert_into(tx, tenants).values(_row(tenant)).on_conflict_do_nothing(index_elements=["slug"])
    await tx.execute(statement)
    row = (await tx.execute(select(*COLUMNS).where(tenants.c.slug == tenant.slug))).one()
    return tenant_of(row)


async def change(
    tx: AsyncConnection, tenant: TenantId, *, name: str | None = None, status: TenantStatus | None = None
) -> Tenant | None:
    """The tenant with another name or status, or None if there is no such tenant."""
    values = {"name": name, "status": None if status is None else status.value}
    given = {column: value for column, value in values.items() if value is not None}
    if not given:
        return await get(tx, tenant)
    statement = update(tenants).where(tenants.c.id == tenant).values(given).returning(*COLUMNS)
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else tenant_of(row)


@crosses_tenants("the list of tenants is the super admin's")
async def page(tx: AsyncConnection, *, cursor: str | None, limit: int) -> Page[Tenant]:
    """Tenants, the newest first.

    Raises:
        TidingsError: VALIDATION_FAILED, no cursor of ours.
    """
    query = select(*COLUMNS).order_by(tenants.c.id.desc()).limit(limit + 1)
    if cursor is not None:
        query = query.where(tenants.c.id < read_cursor(cursor))
    found = [tenant_of(row) for row in await tx.execute(query)]
    return page_of(found, limit, lambda tenant: tenant.id)


def _row(tenant: Tenant) -> dict[str, object]:
    return {
        "id": tenant.id,
        "slug": tenant.slug,
        "name": tenant.name,
        "status": tenant.status.value,
        "created_at": tenant.created_at,
    }
