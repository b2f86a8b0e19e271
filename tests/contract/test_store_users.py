"""Users, on both databases: found within their tenant and nowhere else."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.store_rig import a_notification, a_tenant, a_user, migrated, settle
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Role, UserId
from tidings.store import notifications, tenants, users
from tidings.store.database import Database


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_batch(db: Database) -> None:
    """Many users of several tenants are found at once, each with the tenant; strangers are left out."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    globex, (eve,) = await settle(db, "globex", "eve")
    async with db.read() as tx:
        found = await users.by_ids(tx, [ann.id, bob.id, eve.id, UserId("nobody")])
        assert await users.by_ids(tx, []) == {}
    assert found == {ann.id: (ann, acme), bob.id: (bob, acme), eve.id: (eve, globex)}


async def test_within_the_tenant(db: Database) -> None:
    """ "Whatever belongs to someone else answers exactly as if it did not exist"."""
    acme, (ann,) = await settle(db, "acme")
    globex, _ = await settle(db, "globex", "eve")
    async with db.write() as tx:
        assert await users.get(tx, acme.id, ann.id) == ann
        assert await users.get(tx, globex.id, ann.id) is None
        assert await users.by_email(tx, globex.id, ann.email) is None
        assert not await users.change(tx, globex.id, replace(ann, name="Mallory"))
        assert not await users.deactivate(tx, globex.id, ann.id)
        assert await users.get(tx, acme.id, ann.id) == ann


async def test_by_address(db: Database) -> None:
    """An address is known whatever its case, and kept as it was given."""
    acme = a_tenant()
    ann = replace(a_user(acme), email="Ann.Lee@Example.ORG")
    async with db.write() as tx:
        await tenants.insert(tx, acme)
        assert await users.insert(tx, ann)
        assert await users.by_email(tx, acme.id, "ann.lee@example.org") == ann
        assert await users.by_email(tx, acme.id, "ann@example.org") is None


async def test_address_anywhere(db: Database) -> None:
    """One address may be of several tenants' users; the command line is told all of them."""
    acme, (ann,) = await settle(db, "acme")
    globex, _ = await settle(db, "globex", "eve")
    twin = replace(a_user(globex), email=ann.email.upper())
    async with db.write() as tx:
        assert await users.insert(tx, twin)
        assert await users.by_email_anywhere(tx, ann.email) == (ann, twin)
        assert await users.by_email_anywhere(tx, "nobody@example.org") == ()
        assert await users.by_email(tx, acme.id, ann.email) == ann


async def test_taken(db: Database) -> None:
    """A second user of the address, or of the id, is not added."""
    acme, (ann, bob) = await settle(db, "acme", "ann", "bob")
    async with db.write() as tx:
        assert not await users.insert(tx, replace(a_user(acme, "cat"), email=ann.email.upper()))
        assert not await users.insert(tx, replace(a_user(acme, "cat"), id=ann.id))
    with pytest.raises(TidingsError) as caught:
        async with db.write() as tx:
            await users.change(tx, acme.id, replace(bob, email=ann.email))
    assert caught.value.code is ErrorCode.CONFLICT


async def test_changed(db: Database) -> None:
    """``PUT /admin/users/{id}`` ``{email, name?, tenantId, role, active}``."""
    acme, (ann,) = await settle(db, "acme")
    globex, _ = await settle(db, "globex", "eve")
    changed = replace(ann, email="a@b.example", name=None, role=Role.ADMIN, active=False, tenant_id=globex.id)
    async with db.write() as tx:
        assert await users.change(tx, acme.id, changed)
        assert await users.get(tx, acme.id, ann.id) is None
        assert await users.get(tx, globex.id, ann.id) == changed
        assert await users.by_email(tx, globex.id, "A@B.example") == changed


async def test_version_survives_a_move(db: Database) -> None:
    """The version of what is unread never decreases, though the new tenant's counter is a lower one."""
    acme, (ann,) = await settle(db, "acme")
    globex, _ = await settle(db, "globex", "eve")
    async with db.write() as tx:
        for _ in range(3):
            await notifications.insert(tx, a_notification(ann, acme))
        before = (await notifications.unread(tx, [(acme.id, ann.id)]))[ann.id]
        assert await users.change(tx, acme.id, replace(ann, tenant_id=globex.id))
        after = (await notifications.unread(tx, [(globex.id, ann.id)]))[ann.id]
    assert (before.count, after.count) == (3, 0)
    assert after.version > before.version


async def test_deactivated(db: Database) -> None:
    """Whoever is active is deactivated once."""
    acme, (ann,) = await settle(db)
    async with db.write() as tx:
        assert await users.deactivate(tx, acme.id, ann.id)
        assert not await users.deactivate(tx, acme.id, ann.id)
        assert await users.get(tx, acme.id, ann.id) == replace(ann, active=False)


async def test_pages(db: Database) -> None:
    """A tenant's users, the newest first; who comes meanwhile moves no page, and others' are not there."""
    acme, made = await settle(db, "acme", "ann", "bob", "cat", "dan", "eli")
    await settle(db, "globex", "eve")
    async with db.write() as tx:
        first = await users.page(tx, acme.id, cursor=None, limit=3)
        assert await users.insert(tx, a_user(acme, "fay"))
        second = await users.page(tx, acme.id, cursor=first.next_cursor, limit=3)
    assert [*first.items, *second.items] == made[::-1]
    assert second.next_cursor is None
