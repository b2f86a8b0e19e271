"""``tidings users``: add, list and deactivate users in the configured database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.cli import configuration, output
from tidings.cli.database import opened
from tidings.cli.exits import Exit, Failure
from tidings.cli.people import find_tenant, find_user
from tidings.domain.clock import milliseconds
from tidings.domain.ids import new_id
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import (
    NAME_MAX,
    Role,
    Tenant,
    TenantId,
    TenantStatus,
    User,
    UserId,
    is_email,
    is_name,
    is_slug,
)
from tidings.identity.tokens import MAX_LIFETIME
from tidings.settings import Settings
from tidings.store import orders, revocations, tenants, users
from tidings.store.database import Database
from tidings.store.paging import Page
from tidings.store.revocations import Revocation

_PAGE = 100

T = TypeVar("T")

app = typer.Typer(help="Users of the configured database.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class NewUser:
    """Who is to be added, as it was typed and found sound."""

    email: str
    tenant: str
    role: Role
    name: str | None


def _email(text: str) -> str:
    if not is_email(text):
        raise typer.BadParameter("not an e-mail address")
    return text


def _slug(text: str) -> str:
    if not is_slug(text):
        raise typer.BadParameter("letters, digits and . _ - within, at most 64")
    return text


def _name(text: str | None) -> str | None:
    if text is not None and not is_name(text):
        raise typer.BadParameter(f"1 to {NAME_MAX} printable characters")
    return text


@app.command()
def add(
    email: Annotated[str, typer.Argument(metavar="EMAIL", callback=_email, help="The user's address.")],
    tenant: Annotated[str, typer.Option(callback=_slug, metavar="SLUG", help="Made if it is not there yet.")],
    role: Annotated[Role, typer.Option(case_sensitive=False, help="What the user is.")] = Role.USER,
    name: Annotated[str | None, typer.Option(callback=_name, help="The name to show.")] = None,
    *,
    json: output.Json = False,
) -> None:
    """Add a user, and the tenant if need be."""
    user = asyncio.run(_add(configuration.load(), NewUser(email, tenant, role, name)))
    if json:
        output.result_json(user.to_json())
    else:
        output.result(f"Added {user.email}, {user.role} of {tenant}: {user.id}")


@app.command("list")
def list_users(
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's, by slug or id.")] = None,
    *,
    json: output.Json = False,
) -> None:
    """List users, the newest first in each tenant."""

    async def show(settings: Settings) -> None:
        async with opened(settings) as database:
            async for owner, user in _everyone(database, tenant):
                output.result_json(user.to_json()) if json else output.result(_line(owner, user))

    asyncio.run(show(configuration.load()))


@app.command()
def deactivate(
    user: Annotated[str, typer.Argument(metavar="EMAIL_OR_ID", help="Who is to stay out.")],
    tenant: Annotated[str | None, typer.Option(help="The user's tenant, by slug or id.")] = None,
    *,
    json: output.Json = False,
) -> None:
    """Deactivate a user and end all connections, on every node within a second."""
    found = asyncio.run(_deactivate(configuration.load(), user, tenant))
    if json:
        output.result_json(found.to_json())
    else:
        output.result(f"Deactivated {found.email}: {found.id}")


async def ensure_tenant(tx: AsyncConnection, slug: str) -> Tenant:
    """The tenant of this slug, made if it is not there yet."""
    now = milliseconds(datetime.now(UTC))
    return await tenants.ensure(tx, Tenant(TenantId(new_id()), slug, slug, TenantStatus.ACTIVE, now))


async def insert(tx: AsyncConnection, tenant: Tenant, new: NewUser) -> User | None:
    """The user, now added; None if the tenant has the address already."""
    now = milliseconds(datetime.now(UTC))
    user = User(UserId(new_id()), tenant.id, new.email, new.name, new.role, active=True, created_at=now)
    return user if await users.insert(tx, user) else None


async def _add(settings: Settings, new: NewUser) -> User:
    async with opened(settings) as database, database.write() as tx:
        user = await insert(tx, await ensure_tenant(tx, new.tenant), new)
    if user is None:
        raise Failure(Exit.CONFLICT, f"{new.email} is a user of {new.tenant} already")
    return user


async def _everyone(database: Database, tenant: str | None) -> AsyncIterator[tuple[Tenant, User]]:
    async for owner in _tenants(database, tenant):

        async def page(cursor: str | None, tenant_id: TenantId = owner.id) -> Page[User]:
            async with database.read() as tx:
                return await users.page(tx, tenant_id, cursor=cursor, limit=_PAGE)

        async for user in _all(page):
            yield owner, user


async def _tenants(database: Database, named: str | None) -> AsyncIterator[Tenant]:
    async def page(cursor: str | None) -> Page[Tenant]:
        async with database.read() as tx:
            if named is not None:
                return Page((await find_tenant(tx, named),), None)
            return await tenants.page(tx, cursor=cursor, limit=_PAGE)

    async for tenant in _all(page):
        yield tenant


async def _all(page: Callable[[str | None], Awaitable[Page[T]]]) -> AsyncIterator[T]:
    """The items of every page, one page at a time."""
    cursor: str | None = None
    while True:
        found = await page(cursor)
        for item in found.items:
            yield item
        cursor = found.next_cursor
        if cursor is None:
            return


async def _deactivate(settings: Settings, email_or_id: str, tenant: str | None) -> User:
    """Also revoke every token issued so far, and order every node to end what is live."""
    now = datetime.now(UTC)
    async with opened(settings) as database, database.write() as tx:
        user = await find_user(tx, email_or_id, tenant)
        await users.deactivate(tx, user.tenant_id, user.id)
        await revocations.put(
            tx,
            Revocation(
                id=new_id(),
                tenant_id=user.tenant_id,
                token_id=None,
                user_id=user.id,
                issued_before=now,
                expires_at=now + timedelta(seconds=MAX_LIFETIME),
            ),
        )
        await orders.append(
            tx, [Order(OrderKind.PERSON, user.tenant_id, user.id), Order(OrderKind.TOKENS)], now
        )
        return await find_user(tx, user.id, None)


def _line(owner: Tenant, user: User) -> str:
    state = "" if user.active else "  deactivated"
    return f"{user.id}  {owner.slug:<16}  {user.role:<11}  {output.plain(user.email)}{state}"
