"""Bringing a database to the tables this version needs, and asking whether it has them.

Upgrades only: a step back is a restored backup.
"""

from functools import cache

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.store.engine import connected, driver_url, writing_engine

_STATEMENT_SECONDS = 3600.0
_LOCK = 0x71D1465


async def upgrade(url: str) -> None:
    """Run every migration that is still missing, in one transaction; of several processes, one does it.

    Raises:
        TidingsError: UNAVAILABLE.
        ValueError: the URL is of no database we speak to.
    """
    engine = writing_engine(driver_url(url), 1, statement_seconds=_STATEMENT_SECONDS)
    try:
        async with connected(engine) as tx, tx.begin():
            # Before Alembic begins, whose environment is one for the whole process.
            if tx.dialect.name == "postgresql":
                await tx.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            else:
                await tx.execute(text("SELECT 1"))  # the first statement takes the write lock
            await tx.run_sync(_upgrade)
    finally:
        await engine.dispose()


async def current(tx: AsyncConnection) -> str | None:
    """The revision of the connected database; None: it is empty."""
    return await tx.run_sync(lambda sync: MigrationContext.configure(sync).get_current_revision())


@cache
def head() -> str:
    """The revision this version needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    if revision is None:
        raise RuntimeError("the package has lost its migrations")
    return revision


async def is_current(tx: AsyncConnection) -> bool:
    """Whether the connected database has the tables this version needs."""
    return await current(tx) == head()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    return config


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
