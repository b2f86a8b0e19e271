"""The configured database as commands open it: whether or not a server runs, and ready for this version.

SQLite is migrated on the way. PostgreSQL is shared by processes of perhaps different versions, so migrating it
is a step of its own, which its operator takes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tidings.cli.exits import Exit, Failure
from tidings.settings import Settings
from tidings.store.database import Database


@dataclass(frozen=True, slots=True)
class Migration:
    """The revisions before and after; None before is an empty database."""

    before: str | None
    after: str


def embedded(settings: Settings) -> bool:
    """Whether the database is SQLite."""
    return settings.database.startswith("sqlite:")


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """The configured database, with the tables of this version.

    Raises:
        Failure: CONFIG, it cannot be the database; OUT_OF_DATE, it has to be migrated.
        TidingsError: UNAVAILABLE.
        OSError: SQLite's folder cannot be made.
    """
    async with _connected(settings) as database:
        # Alembic takes long to import, and not every command has a database.
        from tidings.store import migrate

        async with database.read() as tx:
            ready = await migrate.is_current(tx)
        if not ready and not embedded(settings):
            raise Failure(Exit.OUT_OF_DATE, "the database has to be migrated: run `tidings migrate`")
        if not ready:
            await _upgrade(settings)
        yield database


async def upgrade(settings: Settings) -> Migration:
    """Bring the configured database to the tables of this version; raises as ``opened`` does."""
    from tidings.store import migrate

    async with _connected(settings) as database:
        async with database.read() as tx:
            before = await migrate.current(tx)
        if before != migrate.head():
            await _upgrade(settings)
        return Migration(before, migrate.head())


@asynccontextmanager
async def _connected(settings: Settings) -> AsyncIterator[Database]:
    try:
        database = Database(settings.database)
        await database.start()
    except (ValueError, RuntimeError) as fault:
        raise Failure(Exit.CONFIG, f"TIDINGS_DATABASE_URL: {fault}") from None
    try:
        yield database
    finally:
        await database.close()


async def _upgrade(settings: Settings) -> None:
    from alembic.util import CommandError

    from tidings.store import migrate

    try:
        await migrate.upgrade(settings.database)
    except CommandError:
        message = "the database was migrated by a newer version of Tidings"
        raise Failure(Exit.OUT_OF_DATE, message) from None
