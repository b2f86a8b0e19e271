"""Finding the user that somebody at a terminal means, by id or by address."""

import asyncio

from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.cli.database import opened
from tidings.cli.exits import Exit, Failure
from tidings.domain.people import Tenant, User, UserId
from tidings.settings import Settings
from tidings.store import tenants, users


async def find_tenant(tx: AsyncConnection, id_or_slug: str) -> Tenant:
    """The tenant of that id or slug.

    Raises:
        Failure: NOT_FOUND.
    """
    tenant = await tenants.find(tx, id_or_slug)
    if tenant is None:
        raise Failure(Exit.NOT_FOUND, f"there is no tenant {id_or_slug}")
    return tenant


async def find_user(tx: AsyncConnection, email_or_id: str, tenant: str | None) -> User:
    """The user of that id or address, of ``tenant`` (an id or a slug) if one is named.

    Raises:
        Failure: NO_USER, also when several tenants have the address and none is named; NOT_FOUND, no such
            tenant.
    """
    named = None if tenant is None else await find_tenant(tx, tenant)
    found = await _candidates(tx, email_or_id)
    fitting = [user for user in found if named is None or user.tenant_id == named.id]
    if not fitting:
        raise Failure(Exit.NO_USER, f"there is no user {email_or_id}")
    if len(fitting) > 1:
        slugs = [await _slug(tx, user) for user in fitting]
        several = f"{email_or_id} is a user of {', '.join(sorted(slugs))}"
        raise Failure(Exit.NO_USER, f"{several}: name the tenant, or the user by id")
    return fitting[0]


def look_up(settings: Settings, email_or_id: str, tenant: str | None = None) -> User:
    """``find_user`` for a command that needs nothing else of the database; raises also as ``opened`` does."""

    async def find() -> User:
        async with opened(settings) as database, database.read() as tx:
            return await find_user(tx, email_or_id, tenant)

    return asyncio.run(find())


async def _candidates(tx: AsyncConnection, email_or_id: str) -> tuple[User, ...]:
    if "@" in email_or_id:
        return await users.by_email_anywhere(tx, email_or_id)
    found = await users.by_ids(tx, [UserId(email_or_id)])
    return tuple(user for user, _ in found.values())


async def _slug(tx: AsyncConnection, user: User) -> str:
    tenant = await tenants.get(tx, user.tenant_id)
    return user.tenant_id if tenant is None else tenant.slug
