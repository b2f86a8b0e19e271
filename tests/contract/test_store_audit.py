"""The stored security log, on both databases: "An ADMIN acts on the ... security events of the own tenant"."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.store_rig import after, migrated
from tidings.domain.audit import Filter, SecurityEvent, SecurityEventType
from tidings.domain.people import TenantId, UserId
from tidings.store import audit
from tidings.store.database import Database

ACME, GLOBEX = TenantId("acme"), TenantId("globex")
FULL = SecurityEvent(
    event=SecurityEventType.AUTHENTICATION_SUCCESS,
    timestamp=after(0),
    request_id="r",
    node_id="n",
    client_id="c",
    user_id="ann",
    tenant_id="acme",
    ip="::1",
    origin="https://example.org",
    user_agent="curl",
    reason="why",
    count=3,
)
BARE = SecurityEvent(SecurityEventType.ORIGIN_REJECTED, after(1), "r", "n")


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def put(db: Database, *events: SecurityEvent) -> None:
    async with db.write() as tx:
        await audit.insert(tx, events)


async def test_kept(db: Database) -> None:
    """A line comes back as it was written, the newest first."""
    await put(db, FULL, BARE)
    await put(db)
    async with db.read() as tx:
        page = await audit.page_of_all(tx, Filter(), cursor=None, limit=10)
    assert page.items == (BARE, FULL)
    assert page.next_cursor is None


async def test_own_tenant(db: Database) -> None:
    """A tenant's page has no line of another's, and none that is of no tenant."""
    other = replace(FULL, tenant_id="globex")
    await put(db, FULL, BARE, other)
    async with db.read() as tx:
        assert (await audit.page(tx, ACME, Filter(), cursor=None, limit=10)).items == (FULL,)
        assert (await audit.page(tx, GLOBEX, Filter(), cursor=None, limit=10)).items == (other,)


async def test_filters(db: Database) -> None:
    """By event, by user, since a moment and until one, and by all at once."""
    failed = replace(FULL, event=SecurityEventType.AUTHENTICATION_FAILED, timestamp=after(2))
    bobs = replace(failed, user_id="bob", timestamp=after(3))
    await put(db, FULL, failed, bobs)

    async def found(wanted: Filter) -> tuple[SecurityEvent, ...]:
        async with db.read() as tx:
            return (await audit.page(tx, ACME, wanted, cursor=None, limit=10)).items

    assert await found(Filter(event=SecurityEventType.AUTHENTICATION_FAILED)) == (bobs, failed)
    assert await found(Filter(user=UserId("ann"))) == (failed, FULL)
    assert await found(Filter(since=after(2))) == (bobs, failed)
    assert await found(Filter(until=after(3))) == (failed, FULL)
    assert await found(Filter(since=after(2), until=after(2))) == ()
    assert await found(Filter(user=UserId("ann"), since=after(1))) == (failed,)
    assert await found(Filter(event=SecurityEventType.TOKEN_REVOKED)) == ()


async def test_in_their_own_order(db: Database) -> None:
    """By when they happened, whenever they were written down; as they were written within a millisecond."""
    early, late = FULL, [replace(FULL, timestamp=after(9), request_id=str(number)) for number in range(2)]
    await put(db, *late)
    await put(db, early)
    async with db.read() as tx:
        page = await audit.page(tx, ACME, Filter(), cursor=None, limit=10)
    assert page.items == (*late[::-1], early)


async def test_pages(db: Database) -> None:
    """Pages do not move while lines are added."""
    made = [replace(FULL, request_id=str(number)) for number in range(5)]
    await put(db, *made)
    async with db.read() as tx:
        first = await audit.page(tx, ACME, Filter(), cursor=None, limit=3)
    await put(db, replace(FULL, timestamp=after(1)))
    async with db.read() as tx:
        second = await audit.page(tx, ACME, Filter(), cursor=first.next_cursor, limit=3)
    assert [*first.items, *second.items] == made[::-1]
    assert second.next_cursor is None
