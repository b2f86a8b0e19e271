"""Users that a trusted issuer vouches for (``TIDINGS_IDENTITY=claims``): made on first sight, kept as claimed."""

from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.clock import milliseconds
from tidings.domain.ids import new_id
from tidings.domain.people import Role, Tenant, TenantId, TenantStatus, User
from tidings.identity.tokens import Claims
from tidings.store import tenants, users
from tidings.store.database import Database

_Account = tuple[User, Tenant]


async def provision(database: Database, claims: Claims) -> _Account:
    """The user and tenant that checked claims name, made or brought up to date if need be.

    The claim's tenant is a slug or an id. What the database alone decides stays: whether the user is active and
    the tenant suspended.

    Raises:
        TidingsError: UNAVAILABLE; CONFLICT, the address belongs to another user of the tenant.
    """
    async with database.read() as tx:
        known = (await users.by_ids(tx, [claims.subject])).get(claims.subject)
    if known is not None and _as_claimed(known, claims) == known[0]:
        return known
    async with database.write() as tx:
        tenant = await _tenant(tx, claims)
        known = (await users.by_ids(tx, [claims.subject])).get(claims.subject)
        if known is None:
            user = _new(tenant, claims)
            await users.insert(tx, user)
        else:
            user = replace(_as_claimed(known, claims), tenant_id=tenant.id)
            await users.change(tx, known[0].tenant_id, user)
    return user, tenant


async def _tenant(tx: AsyncConnection, claims: Claims) -> Tenant:
    assert claims.tenant is not None, "the directory has checked it"
    found = await tenants.find(tx, claims.tenant)
    if found is not None:
        return found
    now = milliseconds(datetime.now(UTC))
    made = Tenant(TenantId(new_id()), claims.tenant, claims.tenant, TenantStatus.ACTIVE, now)
    return await tenants.ensure(tx, made)


def _new(tenant: Tenant, claims: Claims) -> User:
    return User(
        id=claims.subject,
        tenant_id=tenant.id,
        email=claims.email or f"{claims.subject}@{tenant.slug}.invalid",
        name=claims.name,
        role=Role(claims.role or Role.USER),
        active=True,
        created_at=milliseconds(datetime.now(UTC)),
    )


def _as_claimed(known: _Account, claims: Claims) -> User:
    """The known user as the claims would have them; another tenant shows as another id."""
    user, tenant = known
    same_tenant = claims.tenant in (tenant.slug, tenant.id)
    return replace(
        user,
        tenant_id=tenant.id if same_tenant else TenantId(""),
        email=claims.email or user.email,
        name=claims.name or user.name,
        role=Role(claims.role or Role.USER),
    )
