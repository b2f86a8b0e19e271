"""Shared tickets, on both databases: "it opens the stream once within 30 s, and re-opens it ... only within 60 s
of its last close, one stream at a time, while the token behind it is valid"."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.store_rig import after, migrated, settle
from tidings.domain.people import Tenant, User
from tidings.store import tickets
from tidings.store.database import Database
from tidings.store.tickets import Hold, StoredTicket

DIGEST = bytes(range(32))


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


def ticket(tenant: Tenant, user: User) -> StoredTicket:
    return StoredTicket(
        digest=DIGEST,
        tenant_id=tenant.id,
        user_id=user.id,
        path="/jobs/1/events",
        origin="https://example.org",
        claims={"subject": user.id, "issued_at": 1.5},
        expires_at=after(1000),
        deadline=after(30),
    )


def hold(node: str, now: float) -> Hold:
    """A hold that lapses after 20 s, as from ``now``."""
    return Hold(node, after(now + 20), after(now + 80))


@pytest.fixture
async def acme(db: Database) -> Tenant:
    tenant, (ann,) = await settle(db)
    async with db.write() as tx:
        await tickets.insert(tx, ticket(tenant, ann))
    return tenant


async def take(db: Database, tenant: Tenant, node: str, now: float) -> bool:
    async with db.write() as tx:
        return await tickets.take(tx, tenant.id, DIGEST, hold(node, now), after(now))


async def close(db: Database, node: str, now: float) -> int:
    async with db.write() as tx:
        return await tickets.close(tx, [DIGEST, b"unknown"], Hold(node, after(now), after(now + 60)))


async def test_kept(db: Database) -> None:
    """A ticket comes back as it was stored, to whoever holds it."""
    acme, (ann,) = await settle(db)
    made = ticket(acme, ann)
    async with db.write() as tx:
        await tickets.insert(tx, made)
        await tickets.insert(tx, replace(made, digest=b"other", origin=None))
        assert await tickets.find(tx, DIGEST) == made
        assert await tickets.find(tx, b"unknown") is None


async def test_first_use(db: Database, acme: Tenant) -> None:
    """Within its time, and no later."""
    assert not await take(db, acme, "n1", 30.001)
    assert await take(db, acme, "n1", 30)


async def test_one_stream(db: Database, acme: Tenant) -> None:
    """ "one stream at a time": of several nodes that try at once, one opens it."""
    took = await asyncio.gather(*(take(db, acme, f"n{number}", 1) for number in range(6)))
    assert sum(took) == 1


async def test_again(db: Database, acme: Tenant) -> None:
    """Closed, it can be opened again on any node for a while."""
    assert await take(db, acme, "n1", 1)
    assert not await take(db, acme, "n2", 2)
    assert await close(db, "n1", 5) == 1
    assert await close(db, "n1", 5) == 0
    assert not await take(db, acme, "n2", 65.001)
    assert await take(db, acme, "n2", 65)


async def test_renewed(db: Database, acme: Tenant) -> None:
    """A node holds on to what it holds, of all tenants, in one statement."""
    assert await take(db, acme, "n1", 1)
    async with db.write() as tx:
        assert await tickets.renew(tx, hold("n1", 20)) == 1
        assert await tickets.renew(tx, hold("n2", 20)) == 0
    assert not await take(db, acme, "n2", 39.999)


async def test_node_died(db: Database, acme: Tenant) -> None:
    """A node that dies gives it back by doing nothing; should it wake up, it closes nobody else's stream."""
    assert await take(db, acme, "n1", 1)
    assert not await take(db, acme, "n2", 20.999)
    assert await take(db, acme, "n2", 21)
    assert await close(db, "n1", 22) == 0
    assert not await take(db, acme, "n1", 22)


async def test_token_expired(db: Database, acme: Tenant) -> None:
    """The ticket ends with its token."""
    assert await take(db, acme, "n1", 1)
    async with db.write() as tx:
        await tickets.close(tx, [DIGEST], Hold("n1", after(999), after(2000)))
    assert not await take(db, acme, "n1", 1000)
    assert await take(db, acme, "n1", 999.999)


async def test_own_tenant(db: Database, acme: Tenant) -> None:
    """A ticket opens nothing in another tenant."""
    globex, _ = await settle(db, "globex", "eve")
    assert not await take(db, globex, "n1", 1)
    assert await take(db, acme, "n1", 1)
