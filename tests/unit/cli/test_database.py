"""Opening the configured database: SQLite is made ready on the way, PostgreSQL is only looked at."""

from pathlib import Path

import pytest
from sqlalchemy import text

from tidings.cli.database import Migration, opened, upgrade
from tidings.cli.exits import Exit, Failure
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.settings import Settings
from tidings.store import migrate


def configured(url: str) -> Settings:
    return Settings(database_url=url)


async def test_sqlite_is_migrated(sqlite_url: str) -> None:
    """Contract 11: ``users add``, ``token`` and ``serve`` migrate SQLite themselves."""
    async with opened(configured(sqlite_url)) as database, database.read() as tx:
        assert await migrate.is_current(tx)


async def test_postgres_is_not_migrated(postgres_url: str) -> None:
    """A PostgreSQL that is behind is its operator's to migrate, who is told how."""
    with pytest.raises(Failure, match="tidings migrate") as caught:
        async with opened(configured(postgres_url)):
            pass
    assert caught.value.end is Exit.OUT_OF_DATE
    assert await upgrade(configured(postgres_url)) == Migration(None, migrate.head())
    async with opened(configured(postgres_url)) as database:
        await database.ping()


async def test_upgrade_again(sqlite_url: str) -> None:
    """A database that is up to date stays as it is."""
    await upgrade(configured(sqlite_url))
    assert await upgrade(configured(sqlite_url)) == Migration(migrate.head(), migrate.head())


async def test_database_of_a_newer_version(sqlite_url: str) -> None:
    """A database whose revision nobody here knows is left alone, and that is said in a line."""
    settings = configured(sqlite_url)
    await upgrade(settings)
    async with opened(settings) as database, database.write() as tx:
        await tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Failure, match="newer version") as caught:
        async with opened(settings):
            pass
    assert caught.value.end is Exit.OUT_OF_DATE


async def test_no_database(tmp_path: Path) -> None:
    """What names no database is a fault of the settings; what does not answer is unavailable."""
    with pytest.raises(Failure, match="TIDINGS_DATABASE_URL: the SQLite URL must name a file") as caught:
        async with opened(configured("sqlite://")):
            pass
    assert caught.value.end is Exit.CONFIG
    with pytest.raises(TidingsError) as lost:
        async with opened(configured("postgresql://127.0.0.1:1/nothing")):
            pass
    assert lost.value.code is ErrorCode.UNAVAILABLE
