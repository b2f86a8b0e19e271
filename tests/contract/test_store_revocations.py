"""Revocations, on both databases."""

from collections.abc import AsyncIterator

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
        await revocations.insert(tx, one)
        await revocations.insert(tx, all_of_ann)
        assert await revocations.live(tx, after(9.999)) == [one, all_of_ann]
        assert await revocations.live(tx, after(10)) == [all_of_ann]
        assert await revocations.live(tx, after(20)) == []
