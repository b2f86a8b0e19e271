"""Tenants, on both databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.store_rig import a_tenant, migrated
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Tenant, TenantId, TenantStatus
from tidings.store import tenants
from tidings.store.database import Database


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_found(db: Database) -> None:
    """``PUT /admin/tenants/{id or slug}``: a tenant is found by either."""
    tenant = a_tenant("acme")
    async with db.write() as tx:
        await tenants.insert(tx, tenant)
        assert await tenants.get(tx, tenant.id) == tenant
        assert await tenants.find(tx, tenant.id) == tenant
        assert await tenants.find(tx, "acme") == tenant
        assert await tenants.find(tx, "globex") is None
        assert await tenants.get(tx, TenantId("acme")) is None


async def test_ensured(db: Database) -> None:
    """The first tenant of a slug is everybody's."""
    first, second = a_tenant("acme"), a_tenant("acme")
    async with db.write() as tx:
        assert await tenants.ensure(tx, first) == first
        assert await tenants.ensure(tx, second) == first


async def test_ensured_at_once(db: Database) -> None:
    """Of several who ensure one slug at the same time, all get the same tenant."""

    async def ensure() -> Tenant:
        async with db.write() as tx:
            return await tenants.ensure(tx, a_tenant("acme"))

    made = await asyncio.gather(*(ensure() for _ in range(8)))
    assert len(set(made)) == 1


async def test_slug_taken(db: Database) -> None:
    """Two tenants of one slug cannot be."""
    async with db.write() as tx:
        await tenants.insert(tx, a_tenant("acme"))
    with pytest.raises(TidingsError) as caught:
        async with db.write() as tx:
            await tenants.insert(tx, a_tenant("acme"))
    assert caught.value.code is ErrorCode.CONFLICT


async def test_changed(db: Database) -> None:
    """``PUT /admin/tenants/{id or slug}`` ``{name, status: "active" | "suspended"}``: what is given changes."""
    tenant, other = a_tenant("acme"), a_tenant("globex")
    async with db.write() as tx:
        await tenants.insert(tx, tenant)
        await tenants.insert(tx, other)
        suspended = await tenants.change(tx, tenant.id, status=TenantStatus.SUSPENDED)
        assert suspended is not None
        assert (suspended.name, suspended.status) == (tenant.name, TenantStatus.SUSPENDED)
        renamed = await tenants.change(tx, tenant.id, name="Acme & Sons")
        assert renamed is not None
        assert (renamed.name, renamed.status) == ("Acme & Sons", TenantStatus.SUSPENDED)
        assert await tenants.change(tx, tenant.id) == renamed
        assert await tenants.change(tx, TenantId("nobody"), name="x") is None
        assert await tenants.get(tx, other.id) == other


async def test_pages(db: Database) -> None:
    """Lists are ``{items, nextCursor}``, ``nextCursor`` null at the end: the newest first, none twice."""
    made = [a_tenant(f"t{number}") for number in range(5)]
    async with db.write() as tx:
        for tenant in made:
            await tenants.insert(tx, tenant)
        first = await tenants.page(tx, cursor=None, limit=2)
        await tenants.insert(tx, a_tenant("late"))
        second = await tenants.page(tx, cursor=first.next_cursor, limit=2)
        third = await tenants.page(tx, cursor=second.next_cursor, limit=2)
    assert [*first.items, *second.items, *third.items] == made[::-1]
    assert third.next_cursor is None
