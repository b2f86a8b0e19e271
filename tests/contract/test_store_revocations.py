"""Revocations, on both databases."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.store_rig import after, migrated, settle
from tidings.domain.ids import new_id
from tidings.domain.people import UserId
from tidings.store import revocations
from tidings.store.database import Database
from tidings.store.revocations import Revocation


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_live(db: Database) -> None:
    """``POST /admin/tokens/revoke`` ``{jti}`` or ``{userId, issuedBefore?}``: kept until it matters no more."""
    acme, _ = await settle(db)
    one = Revocation(new_id(), acme.id, "jti", None, None, after(10))
    all_of_ann = Revocation(new_id(), None, None, UserId("ann"), after(3), after(20))
    async with db.write() as tx:
        await revocations.put(tx, one)
        await revocations.put(tx, all_of_ann)
        assert await revocations.live(tx, after(9.999)) == [one, all_of_ann]
        assert await revocations.live(tx, after(10)) == [all_of_ann]
        assert await revocations.live(tx, after(20)) == []


async def test_by_pages(db: Database) -> None:
    """By their ids, and none twice."""
    await settle(db)
    rows = [Revocation(new_id(), None, f"jti-{n}", None, None, after(9)) for n in range(3)]
    async with db.write() as tx:
        for row in rows:
            await revocations.put(tx, row)
        assert await revocations.live(tx, after(0), limit=2) == rows[:2]
        assert await revocations.live(tx, after(0), after=rows[1].id, limit=2) == rows[2:]


async def test_a_token_is_there_once(db: Database) -> None:
    """Once for each who has revoked it; again renews it under the new id, and never makes it end sooner."""
    acme, _ = await settle(db)
    async with db.write() as tx:
        for tenant in (acme.id, None):
            await revocations.put(tx, Revocation(new_id(), tenant, "jti", None, None, after(10)))
        again = [Revocation(new_id(), tenant, "jti", None, None, after(9)) for tenant in (acme.id, None)]
        for row in again:
            await revocations.put(tx, row)
        assert await revocations.live(tx, after(0)) == [replace(row, expires_at=after(10)) for row in again]
        assert await revocations.count_tokens(tx, acme.id, but="jti") == 0
        assert await revocations.count_tokens(tx, acme.id, but="other") == 1


async def test_a_user_is_there_once(db: Database) -> None:
    """Of two moments the later one stands, whichever came first."""
    acme, _ = await settle(db)
    async with db.write() as tx:
        for moment in (3, 5, 4):
            last = Revocation(new_id(), acme.id, None, UserId("ann"), after(moment), after(20 - moment))
            await revocations.put(tx, last)
        (row,) = await revocations.live(tx, after(0))
        assert row == replace(last, issued_before=after(5), expires_at=after(17))
