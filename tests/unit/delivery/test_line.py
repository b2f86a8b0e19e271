"""Rows are taken out of the outbox in order, once, and come back if the block that has them fails."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from tests.support import tables
from tests.support.broker_rig import ANN
from tidings.delivery import line as line_file
from tidings.delivery.line import Line, line
from tidings.domain.event import Event, EventClass
from tidings.store import outbox
from tidings.store.database import Database


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    await tables.lay(database_url)
    async with Database(database_url) as made:
        yield made


async def commit(database: Database, *names: bytes) -> None:
    rows = [(ANN, Event("e", name, EventClass.STATE)) for name in names]
    async with database.write() as tx:
        await outbox.append(tx, rows, datetime.now(UTC))


async def taken(rows: Line, limit: int = 10) -> list[bytes]:
    async with rows.take(limit) as found:
        return [row.event.data for row in found]


async def left(database: Database) -> int:
    async with database.read() as tx:
        return (await outbox.lag(tx)).count


async def test_what_was_taken_is_not_taken_again(database: Database) -> None:
    """In order, the first so many, and each once; then nothing is left and nothing waits."""
    rows = line(database)
    await commit(database, b"1", b"2", b"3")
    assert await taken(rows, 2) == [b"1", b"2"]
    assert (await rows.lag()).count == 1
    await commit(database, b"4")
    assert await taken(rows) == [b"3", b"4"]
    assert await taken(rows) == []
    assert (await rows.lag()).since is None
    await rows.clear()
    assert not rows.littered
    assert await left(database) == 0


async def test_a_block_that_fails_takes_nothing(database: Database) -> None:
    """What could not be published is in line as before."""
    rows = line(database)
    await commit(database, b"1")
    with pytest.raises(ConnectionError):
        async with rows.take(10):
            raise ConnectionError
    assert (await rows.lag()).count == 1
    assert await taken(rows) == [b"1"]


async def test_litter_is_bounded(sqlite_url: str) -> None:
    """Where rows are deleted later there are never many of them, however much is taken."""
    await tables.lay(sqlite_url)
    async with Database(sqlite_url) as database:
        rows = line(database)
        await commit(database, *[b"x"] * line_file.LITTER)
        assert len(await taken(rows, line_file.LITTER - 1)) == line_file.LITTER - 1
        littered = rows.littered
        assert await taken(rows) == [b"x"]
        assert (littered, rows.littered) == (True, False)
        assert await left(database) == 0


async def one_waits(database: Database) -> None:
    """Until some process waits for a turn."""
    query = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    async with asyncio.timeout(10), database.read() as tx:
        while not await tx.scalar(query):  # noqa: ASYNC110  the database tells nobody
            await asyncio.sleep(0.005)


async def test_processes_take_turns(postgres_url: str) -> None:
    """On PostgreSQL a second process waits for the first, and finds what is left."""
    await tables.lay(postgres_url)
    async with Database(postgres_url) as one, Database(postgres_url) as two:
        await commit(one, b"1", b"2")
        async with line(one).take(1):
            other = asyncio.create_task(taken(line(two)))
            await one_waits(one)
            assert not other.done()
        assert await other == [b"2"]
