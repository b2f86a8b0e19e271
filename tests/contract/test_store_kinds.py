"""The register of job kinds, on both databases."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.exc import IntegrityError

from tests.support.store_rig import KINDS, a_job, after, migrated, settle
from tidings.store import jobs, kinds
from tidings.store.database import Database


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_registered(db: Database) -> None:
    """ "Workers register their kinds and the JSON Schema of each payload in the database"; the latest counts."""
    first, second = {"type": "object"}, {"type": "object", "properties": {"n": {"type": "integer"}}}
    async with db.write() as tx:
        await kinds.register(tx, {"a": first, "b": first}, after(0))
        await kinds.register(tx, {"b": second}, after(1))
        await kinds.register(tx, {}, after(2))
        assert await kinds.schemas(tx) == {**{kind: {} for kind in KINDS}, "a": first, "b": second}


async def test_at_once(db: Database) -> None:
    """Workers that start together register together."""

    async def register(names: list[str]) -> None:
        async with db.write() as tx:
            await kinds.register(tx, {name: {} for name in names}, after(0))

    await asyncio.gather(*(register(["x", "y", "z"][::step]) for step in (1, -1, 1, -1)))
    async with db.read() as tx:
        assert {"x", "y", "z"} < set(await kinds.schemas(tx))


async def test_unknown(db: Database) -> None:
    """A job of a kind nobody ever registered cannot be stored."""
    _, (ann,) = await settle(db)
    with pytest.raises(IntegrityError):
        async with db.write() as tx:
            await jobs.insert(tx, [a_job(ann, kind="never")])
