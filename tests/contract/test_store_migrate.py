"""Migrations, on both databases: up from nothing, once, and to exactly the tables the queries are written for."""

import asyncio

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from tidings.store import migrate
from tidings.store.database import Database
from tidings.store.tables import metadata


async def test_from_empty(database_url: str) -> None:
    """An empty database is not current; upgraded, it is."""
    async with Database(database_url) as db:
        async with db.read() as tx:
            assert await migrate.current(tx) is None
            assert not await migrate.is_current(tx)
        await migrate.upgrade(database_url)
        async with db.read() as tx:
            assert await migrate.current(tx) == migrate.head()
            assert await migrate.is_current(tx)


async def test_again(database_url: str) -> None:
    """Upgrading what is current changes nothing."""
    await migrate.upgrade(database_url)
    await migrate.upgrade(database_url)
    async with Database(database_url) as db, db.read() as tx:
        assert await migrate.is_current(tx)


async def test_all_at_once(database_url: str) -> None:
    """Processes that start together and upgrade together do not fall over each other."""
    await asyncio.gather(*(migrate.upgrade(database_url) for _ in range(8)))
    async with Database(database_url) as db, db.read() as tx:
        assert await migrate.is_current(tx)


async def test_no_difference(database_url: str) -> None:
    """The migrations end where ``tables.py`` is."""

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, metadata))

    await migrate.upgrade(database_url)
    async with Database(database_url) as db, db.read() as tx:
        assert await tx.run_sync(differences) == []
