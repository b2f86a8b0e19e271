"""The database: connections, transactions, and what becomes of its failures.

One class for both: SQLite (in WAL mode: many readers, one writer) in development and on one machine,
PostgreSQL at scale. It knows no table; the nouns beside it do. It never retries: a caller that is told
UNAVAILABLE may, since a transaction that failed has left nothing behind.
"""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from typing import Final, Self

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.errors import TidingsError
from tidings.store.engine import connected, driver_url, reading_engine, writing_engine
from tidings.store.standby import Standby
from tidings.store.stroke import Shelf, Statements

SQLITE_LEAST: Final = (3, 40)
_AT_HAND: Final = 4
"""One in so many connections is kept out of the pool for whoever needs one at once."""


class Database:
    """Transactions on ``url``: ``sqlite:///file`` or ``postgresql://...``.

    ``pool_size`` bounds the connections: all of them on PostgreSQL, the readers' on SQLite, which has one
    more for its writer.

    Raises:
        ValueError: the URL is of no database we speak to.
    """

    def __init__(self, url: str, *, pool_size: int = 8) -> None:
        address = driver_url(url)
        self._sqlite = address.get_backend_name() == "sqlite"
        self._writer = writing_engine(address, pool_size)
        self._reader = reading_engine(self._writer, pool_size)
        # At hand for strokes: some of PostgreSQL's connections, of SQLite's readers. Its one writer is a queue's.
        at_hand = pool_size // _AT_HAND
        shelf = Shelf()
        self._writers = Standby(self._writer, 0 if self._sqlite else at_hand, shelf)
        self._readers = Standby(self._reader, at_hand, shelf) if self._sqlite else self._writers
        self._sole: set[str] = set()

    @property
    def shared(self) -> bool:
        """Whether it is made for several processes; SQLite serves one."""
        return not self._sqlite

    async def start(self) -> None:
        """Connect.

        Raises:
            TidingsError: UNAVAILABLE.
            RuntimeError: SQLite is older than what the queries need.
        """
        if self._sqlite and sqlite3.sqlite_version_info < SQLITE_LEAST:
            raise RuntimeError(f"SQLite {sqlite3.sqlite_version} is too old: 3.40 is needed")
        await self.ping()

    async def close(self) -> None:
        """Give back every connection. Whoever is within a block still ends it."""
        await self._readers.close()
        await self._writers.close()
        await self._reader.dispose()
        await self._writer.dispose()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def ping(self) -> None:
        """Return if the database answers.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        async with self.read() as tx:
            await tx.execute(text("SELECT 1"))

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries. Each statement sees what is committed when it begins.

        Raises:
            TidingsError: UNAVAILABLE, from here or from a statement within the block.
        """
        async with connected(self._reader) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, committed when the block ends and rolled back when it raises.

        On SQLite writers come one after another: a block waits for nothing but the database, and one that
        opens another waits for itself, in vain.

        Raises:
            TidingsError: UNAVAILABLE, or CONFLICT for what has to be unique; from here or from a statement
                within the block.
        """
        async with connected(self._writer) as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def strokes(self) -> AsyncIterator[Statements]:
        """As ``write``, for few statements, and straight to the driver: most of what so little takes is Python's.

        Raises:
            TidingsError: as ``write``.
        """
        async with self._writers.stroke() as stroke:
            transaction = stroke.driver.transaction()
            await stroke.ask(transaction.start)
            try:
                yield stroke
            except BaseException:
                with suppress(TidingsError):
                    await stroke.ask(transaction.rollback)
                raise
            await stroke.ask(transaction.commit)

    def stroke(self) -> AbstractAsyncContextManager[Statements]:
        """As ``strokes``, for a single writing statement: on PostgreSQL that commits itself, and spares two trips.

        Raises:
            TidingsError: as ``write``.
        """
        return self.strokes() if self._sqlite else self._writers.stroke()

    def glance(self) -> AbstractAsyncContextManager[Statements]:
        """As ``read``, straight to the driver.

        Raises:
            TidingsError: as ``read``.
        """
        return self._readers.stroke()

    @asynccontextmanager
    async def sole(self, name: str) -> AsyncIterator[bool]:
        """Whether, while the block lasts, this is the only one of all processes in a block of that name.

        On PostgreSQL it holds a connection and ends with it, so a dead process stands in nobody's way. On
        SQLite, which serves one server process, it looks at this process alone.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        if not self._sqlite:
            async with self.write() as tx:
                lock = text("SELECT pg_try_advisory_xact_lock(hashtext(:name))")
                yield bool(await tx.scalar(lock, {"name": name}))
        elif name in self._sole:
            yield False
        else:
            self._sole.add(name)
            try:
                yield True
            finally:
                self._sole.remove(name)
