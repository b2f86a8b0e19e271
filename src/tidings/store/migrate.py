"""Bringing a database to the tables this version needs, and asking whether it has them.

Upgrades only: a step back is a restored backup. Alembic, which takes long to import, is needed where there is
something to do; whether there is can be told without it.
"""

import re
from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.store.engine import connected, driver_url, writing_engine

_STATEMENT_SECONDS = 3600.0
_LOCK = 0x71D1465
_VERSIONS = Path(__file__).with_name("migrations") / "versions"
_MIGRATION = re.compile(r"v([0-9]{4})_[a-z0-9_]+\.py")


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
    return await tx.run_sync(_current)


@cache
def head() -> str:
    """The revision this version needs: migrations follow one another by the number in their files' names."""
    found = [match[1] for each in _VERSIONS.iterdir() if (match := _MIGRATION.fullmatch(each.name))]
    if not found:
        raise RuntimeError("the package has lost its migrations")
    return max(found)


async def is_current(tx: AsyncConnection) -> bool:
    """Whether the connected database has the tables this version needs."""
    return await current(tx) == head()


def _current(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _upgrade(connection: Connection) -> None:
    if _current(connection) == head():
        return
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tidings.store:migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
