"""Databases that have every table at once, as copies of one that was migrated: for tests of what comes after.

Migrating each anew would be most of the work of a test. That migrations end in these tables is for the tests of
migrations to say.
"""

import asyncio
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from tests.support.programs import postgres
from tidings.store import migrate

_dumps: list[str] = []
"""What makes the tables on PostgreSQL, once it is known."""


async def lay(url: str) -> None:
    """Give the empty database at ``url`` the tables of this version, as ``migrate.upgrade`` does."""
    if url.startswith("sqlite"):
        lay_file(Path(url.removeprefix("sqlite:///")))
    elif not _dumps:
        await migrate.upgrade(url)
        _dumps.append(await asyncio.to_thread(_dump, url))
    else:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(_dumps[0])
        finally:
            await connection.close()


def lay_file(path: Path) -> None:
    """The same for an SQLite file; one that is there is left as it is."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        path.write_bytes(_file())


@cache
def _file() -> bytes:
    with TemporaryDirectory() as folder, ThreadPoolExecutor(1) as elsewhere:
        path = Path(folder, "tidings.db")
        # In a thread without an event loop, whether or not the caller's has one.
        elsewhere.submit(lambda: asyncio.run(migrate.upgrade(f"sqlite:///{path}"))).result()
        return path.read_bytes()


def _dump(url: str) -> str:
    """Tables and rows as SQL, without the words that only psql knows."""
    command: list[str | Path] = [postgres("pg_dump"), "--no-owner", "--inserts", "-d", url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("\\"))
