"""Migrations, on both databases: up from nothing, once, and to exactly the tables the queries are written for."""

import asyncio

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, insert, select

from tests.support.store_rig import after
from tidings.domain.people import Tenant, TenantId, TenantStatus
from tidings.store import migrate, tenants
from tidings.store.database import Database
from tidings.store.tables import metadata, revocations


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


def test_head_is_alembic_s() -> None:
    """What the files' names say is what the migrations say of one another."""
    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    assert ScriptDirectory.from_config(config).get_heads() == [migrate.head()]


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


async def test_one_of_each_revocation_stays(database_url: str) -> None:
    """0007: of a token's the newest, for each who has revoked it; of a user's the one with the latest moment."""
    rows = (
        ("1", "t", "jti", None, None),
        ("2", "t", "jti", None, None),
        ("3", None, "jti", None, None),
        ("4", None, "jti", None, None),
        ("5", None, None, "ann", after(2)),
        ("6", None, None, "ann", after(1)),
        ("7", "t", None, "bob", after(1)),
        ("8", "t", None, "bob", after(1)),
    )
    names = ("id", "tenant_id", "token_id", "user_id", "issued_before")
    async with Database(database_url) as db:
        async with db.write() as tx:
            await tx.run_sync(_upgrade_to, "0006")
            await tenants.insert(tx, Tenant(TenantId("t"), "t", "T", TenantStatus.ACTIVE, after(0)))
            for row in rows:
                values = dict(zip(names, row, strict=True))
                await tx.execute(insert(revocations).values(**values, expires_at=after(9)))
        await migrate.upgrade(database_url)
        async with db.read() as tx:
            assert await migrate.is_current(tx)
            left = await tx.execute(select(revocations.c.id).order_by(revocations.c.id))
            assert list(left.scalars()) == ["2", "4", "5", "8"]


def _upgrade_to(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
