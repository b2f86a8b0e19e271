"""Transactions on both databases: what is kept, what is not, who waits for whom, and how failures are told."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import asyncpg
import pytest
from sqlalchemy import func, literal, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.processes import free_port
from tests.support.store_rig import a_job, a_tenant, migrated, settle
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.store import jobs, tables, tenants
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.stroke import Statements
from tidings.store.tables import counters


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


async def test_committed(db: Database) -> None:
    """What a block wrote is there for whoever reads after it."""
    tenant = a_tenant()
    async with db.write() as tx:
        await tenants.insert(tx, tenant)
    async with db.read() as tx:
        assert await tenants.get(tx, tenant.id) == tenant


async def test_rolled_back(db: Database) -> None:
    """database down: ... "nothing half-written": a block that raises has written nothing."""
    tenant = a_tenant()

    async def write() -> None:
        async with db.write() as tx:
            await tenants.insert(tx, tenant)
            raise LookupError

    with pytest.raises(LookupError):
        await write()
    async with db.read() as tx:
        assert await tenants.get(tx, tenant.id) is None


async def test_stroke(db: Database) -> None:
    """A stroke is kept as soon as its block ends, and one whose statement fails has written nothing."""
    _, (user,) = await settle(db)
    first, second = a_job(user), a_job(user)
    async with db.stroke() as stroke:
        await jobs.insert(stroke, [first])
    with pytest.raises(TidingsError) as caught:
        async with db.stroke() as stroke:
            await jobs.insert(stroke, [second, first])
    assert caught.value.code is ErrorCode.CONFLICT
    async with db.read() as tx:
        assert await jobs.get_any(tx, first.job.id) == first
        assert await jobs.get_any(tx, second.job.id) is None


async def test_strokes(db: Database) -> None:
    """Several statements are kept together or not at all, and whoever only looks sees what was kept before."""
    _, (user,) = await settle(db)
    first, second, third = a_job(user), a_job(user), a_job(user)

    async def write(*batches: list[StoredJob], fault: Exception | None = None) -> None:
        async with db.strokes() as tx:
            for batch in batches:
                await jobs.insert(tx, batch)
            async with db.glance() as other:
                assert [one.id for one in await other.execute(select(tables.jobs.c.id))] in (
                    [],
                    [first.job.id],
                )
            if fault is not None:
                raise fault

    await write([first])
    with pytest.raises(LookupError):
        await write([second], fault=LookupError())
    with pytest.raises(TidingsError, check=lambda error: error.code is ErrorCode.CONFLICT):
        await write([second], [third, first])
    async with db.read() as tx:
        assert await jobs.get_any(tx, first.job.id) == first
        assert await jobs.get_any(tx, second.job.id) is None
        assert await jobs.get_any(tx, third.job.id) is None


async def test_strokes_that_are_lost(postgres_url: str) -> None:
    """database down: "writes answer 503 ... nothing half-written", on the way as well as at the commit."""
    async with migrated(postgres_url) as db:
        _, (user,) = await settle(db)
        job = a_job(user)

        async def write(*, after: bool) -> None:
            async with db.strokes() as tx:
                await jobs.insert(tx, [job])
                [row] = await tx.execute(select(func.pg_backend_pid().label("pid")))
                await end(db, row.pid)
                if after:
                    await tx.execute(text("SELECT 1"))

        for after in (True, False):
            with pytest.raises(TidingsError, check=is_unavailable):
                await write(after=after)
        async with db.strokes() as tx:
            await jobs.insert(tx, [job])


async def test_nothing_done(db: Database) -> None:
    """A block without a statement ends well, and so does whatever comes after it."""
    async with db.write():
        pass
    async with db.stroke():
        pass
    tenant = a_tenant()
    async with db.write() as tx:
        await tenants.insert(tx, tenant)
    async with db.read() as tx:
        assert await tenants.get(tx, tenant.id) == tenant


async def test_readers_do_not_wait(db: Database) -> None:
    """A reader beside a writer sees what was committed before, at once."""
    tenant = a_tenant()
    async with db.write() as tx:
        await tenants.insert(tx, tenant)
        async with db.read() as other:
            assert await tenants.get(other, tenant.id) is None


async def test_no_update_is_lost(db: Database) -> None:
    """Writers at the same time come one after another where they write the same."""

    async def increase() -> None:
        async with db.write() as tx:
            await tx.execute(update(counters).values(value=counters.c.value + 1))

    await asyncio.gather(*(increase() for _ in range(20)))
    async with db.read() as tx:
        assert (await tx.execute(counters.select())).one().value == 20


@pytest.mark.parametrize("way", [Database.write, Database.strokes])
async def test_cancelled(
    db: Database, way: Callable[[Database], AbstractAsyncContextManager[Statements]]
) -> None:
    """A writer that is cancelled halfway leaves nothing behind and stands in nobody's way."""
    _, (user,) = await settle(db)
    job, wrote = a_job(user), asyncio.Event()

    async def write() -> None:
        async with way(db) as tx:
            await jobs.insert(tx, [job])
            wrote.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(write())
    await wrote.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with way(db) as tx:
        await jobs.insert(tx, [job])


async def test_what_must_be_unique(db: Database) -> None:
    """Adding what is there already is a CONFLICT, and its detail is kept from clients."""
    tenant = a_tenant()
    async with db.write() as tx:
        await tenants.insert(tx, tenant)
    with pytest.raises(TidingsError) as caught:
        async with db.write() as tx:
            await tenants.insert(tx, tenant)
    assert caught.value.code is ErrorCode.CONFLICT
    assert "tenants" not in caught.value.message


async def test_only_one(db: Database) -> None:
    """Of two blocks of one name at the same time the first is the sole one; afterwards the next is."""
    async with db.sole("relay") as first, db.sole("relay") as second, db.sole("reaper") as other:
        assert (first, second, other) == (True, False, True)
    async with db.sole("relay") as third:
        assert third


async def test_only_one_after_a_failure(db: Database) -> None:
    """A block that raised is no longer the sole one."""
    with pytest.raises(LookupError):
        async with db.sole("relay"):
            raise LookupError
    async with db.sole("relay") as mine:
        assert mine


async def test_ping(db: Database) -> None:
    """A database that answers is told by nothing."""
    await db.ping()


def is_unavailable(error: TidingsError) -> bool:
    return error.code is ErrorCode.UNAVAILABLE and bool(error.retry_after)


async def test_nobody_listens() -> None:
    """``UNAVAILABLE`` 503 (+ ``Retry-After``)."""
    database = Database(f"postgresql://postgres@127.0.0.1:{free_port()}/tidings")
    with pytest.raises(TidingsError, check=is_unavailable):
        await database.start()
    await database.close()


async def test_no_such_database(postgres_url: str) -> None:
    """A server without our database is a lost database, not a fault of ours."""
    database = Database(f"{postgres_url}_gone")
    with pytest.raises(TidingsError, check=is_unavailable):
        await database.start()
    await database.close()


async def end_backend(db: Database, tx: AsyncConnection) -> None:
    """Let the server drop the connection that ``tx`` is on, and wait until it has."""
    backend = await tx.scalar(text("SELECT pg_backend_pid()"))
    await end(db, backend)


async def end(db: Database, backend: int) -> None:
    async with db.read() as other:
        await other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": backend})


async def test_lost_on_the_way(postgres_url: str) -> None:
    """database down: "writes answer 503 ... nothing half-written"; when it is back, so are we."""
    async with migrated(postgres_url) as db:
        tenant = a_tenant()

        async def write() -> None:
            async with db.write() as tx:
                await tenants.insert(tx, tenant)
                await end_backend(db, tx)
                await tx.execute(text("SELECT 1"))

        with pytest.raises(TidingsError, check=is_unavailable):
            await write()
        async with db.read() as tx:
            assert await tenants.get(tx, tenant.id) is None


async def test_lost_before_the_commit(postgres_url: str) -> None:
    """A commit that did not reach the database is told as one that did not happen."""
    async with migrated(postgres_url) as db:
        with pytest.raises(TidingsError, check=is_unavailable):
            async with db.write() as tx:
                await end_backend(db, tx)


async def test_a_stroke_that_is_lost(postgres_url: str) -> None:
    """It is told as one that did not happen, and the next one has a connection that works."""
    async with migrated(postgres_url) as db:

        async def strike_while_it_ends() -> None:
            async with db.stroke() as stroke:
                [row] = await stroke.execute(select(func.pg_backend_pid().label("pid")))
                await end(db, row.pid)
                await stroke.execute(text("SELECT 1"))

        with pytest.raises(TidingsError, check=is_unavailable):
            await strike_while_it_ends()
        await strike(db)


async def test_a_stroke_that_makes_no_sense(postgres_url: str) -> None:
    """That is a fault of ours, not of the database."""
    async with migrated(postgres_url) as db:
        with pytest.raises(asyncpg.UndefinedTableError):
            async with db.stroke() as stroke:
                await stroke.execute(text("SELECT 1 FROM nothing"))
        await strike(db)


async def test_a_cancelled_stroke(postgres_url: str) -> None:
    """It ends as cancelled, and leaves its connection to nobody half-way."""
    async with migrated(postgres_url) as db:

        async def strike_for_ever() -> None:
            while True:
                await strike(db)

        for _ in range(20):
            task = asyncio.create_task(strike_for_ever())
            await asyncio.sleep(0.002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await strike(db)


async def strike(db: Database) -> None:
    async with db.stroke() as stroke:
        [row] = await stroke.execute(select(literal(7).label("seven")))
        assert row.seven == 7


async def test_a_cancelled_call_stays_cancelled(database_url: str) -> None:
    """A task that is cancelled within a statement ends as cancelled, and the database serves on."""
    async with migrated(database_url) as db:

        async def read_for_ever() -> None:
            while True:
                async with db.read() as tx:
                    await tx.execute(text("SELECT 1"))

        for _ in range(20):
            task = asyncio.create_task(read_for_ever())
            await asyncio.sleep(0.002)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await db.ping()


async def test_out_of_the_way(sqlite_url: str) -> None:
    """A file that cannot be opened is a lost database."""
    folder = sqlite_url.rpartition("/")[0]
    database = Database(folder)
    with pytest.raises(TidingsError, check=is_unavailable):
        await database.start()
    await database.close()


async def test_durable(sqlite_url: str) -> None:
    """ "nothing accepted is lost": each commit is on the disk before it is told, and keys are kept."""
    async with migrated(sqlite_url) as db, db.write() as tx:
        asked = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        found = [(await tx.execute(text(f"PRAGMA {name}"))).scalar_one() for name in asked]
    assert found == ["wal", 2, 1, 5000]


async def test_queries_cannot_write(sqlite_url: str) -> None:
    """A query that writes is found out on SQLite, whose readers refuse it."""
    async with migrated(sqlite_url) as db:
        with pytest.raises(TidingsError, match="readonly"):
            async with db.read() as tx:
                await tx.execute(update(counters).values(value=1))
