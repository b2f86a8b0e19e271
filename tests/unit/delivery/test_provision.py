"""Users whom a trusted issuer vouches for."""

from collections.abc import AsyncIterator

import pytest

from tests.support import tables
from tests.support.store_rig import a_tenant, a_user
from tidings.delivery.provision import provision
from tidings.domain.people import Role, TenantStatus, UserId
from tidings.identity.tokens import Claims
from tidings.store import tenants, users
from tidings.store.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await tables.lay(database_url)
    async with Database(database_url) as made:
        yield made


def claims(subject: str = "auth0|ann", tenant: str = "acme", role: str | None = None) -> Claims:
    return Claims(UserId(subject), 2e9, tenant=tenant, role=role, email="ann@acme.example", name="Ann")


async def test_a_user_is_made_on_first_sight(database: Database) -> None:
    """Contract, section 2: "claims are used and the user is provisioned on first sight"."""
    user, tenant = await provision(database, claims(role="ADMIN"))
    assert (user.id, user.role, user.email, tenant.slug) == (
        "auth0|ann",
        Role.ADMIN,
        "ann@acme.example",
        "acme",
    )
    async with database.read() as tx:
        assert await users.get(tx, tenant.id, user.id) == user


async def test_the_second_sight_changes_nothing(database: Database) -> None:
    """The same claims stand for the same account."""
    assert await provision(database, claims()) == await provision(database, claims())


async def test_changed_claims_change_the_user(database: Database) -> None:
    """Role and tenant are what the issuer says now."""
    first, _ = await provision(database, claims())
    second, tenant = await provision(database, claims(tenant="other", role="SUPER_ADMIN"))
    assert (first.role, second.role) == (Role.USER, Role.SUPER_ADMIN)
    assert (second.tenant_id, tenant.slug) == (tenant.id, "other")
    assert second.created_at == first.created_at


async def test_an_existing_tenant_is_meant_by_slug_or_id(database: Database) -> None:
    """No second tenant of the name is made."""
    tenant = a_tenant("acme")
    async with database.write() as tx:
        await tenants.insert(tx, tenant)
    assert (await provision(database, claims("a")))[1] == tenant
    by_id = Claims(UserId("b"), 2e9, tenant=tenant.id, email="b@acme.example")
    assert (await provision(database, by_id))[1] == tenant


async def test_the_database_has_the_last_word(database: Database) -> None:
    """No claim makes an inactive user active, or a suspended tenant whole."""
    tenant = a_tenant("acme")
    user = a_user(tenant)
    async with database.write() as tx:
        await tenants.insert(tx, tenant)
        await users.insert(tx, user)
        await users.deactivate(tx, tenant.id, user.id)
        await tenants.change(tx, tenant.id, status=TenantStatus.SUSPENDED)
    seen, its = await provision(database, Claims(user.id, 2e9, tenant="acme", role="ADMIN"))
    assert not seen.active
    assert its.status is TenantStatus.SUSPENDED
