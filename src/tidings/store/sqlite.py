"""SQLite's driver with one trip to its thread per statement.

aiosqlite runs each call on a connection's own thread, and SQLAlchemy makes four of a statement: a cursor,
execute, fetch, close. Here they are one, which halves the time of a small transaction; its BEGIN goes with its
first statement, and where nothing was begun nothing is rolled back. Nothing else changes.
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Self

import aiosqlite

_CHUNK: Final = 64
"""aiosqlite's own default for what is read bit by bit, which nothing here is."""
_WAIT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.005


class Connection(aiosqlite.Connection):
    """A connection whose cursors come back with all their rows."""

    def __init__(self, database: str, **options: Any) -> None:
        super().__init__(lambda: _opened(database, options), _CHUNK)
        self.stopped: asyncio.Future[Any] | None = None
        self._open = False  # between ``begin`` and what ended it
        self._begins = (
            False  # whether the transaction is still to be begun; the thread's own once there is one
        )
        # A process that was not closed properly ends all the same.
        self._thread.daemon = True

    def begin(self) -> None:
        """Have the next statement begin a transaction, and with it take the write lock.

        Taken at once, because a reader that turns writer halfway fails, whatever the timeout.
        """
        self._open = self._begins = True

    async def commit(self) -> None:
        """Commit what was begun."""
        if self._open:
            await self._execute(self._end, self._conn.commit)  # type: ignore[no-untyped-call]  # it is, there
            self._open = False

    async def rollback(self) -> None:
        """Roll back what was begun; SQLAlchemy asks for it whenever a connection goes back to its pool."""
        if self._open:
            await self._execute(self._end, self._conn.rollback)  # type: ignore[no-untyped-call]  # it is, there
            self._open = False

    def _end(self, how: Callable[[], None]) -> None:
        self._begins = False
        how()

    def stop(self) -> asyncio.Future[Any] | None:
        """Stop the thread, and keep what it will say: one that nobody waits for may outlive the loop."""
        self.stopped = super().stop()
        return self.stopped

    async def _connect(self) -> aiosqlite.Connection:
        try:
            return await super()._connect()
        except Exception:
            if self.stopped is not None:
                await self.stopped
            raise

    def cursor(self) -> "Cursor":  # type: ignore[override]  # SQLAlchemy asks for no more than Cursor has
        return Cursor(self)

    async def run(self, cursor: "Cursor", sql: str, parameters: Sequence[Any], *, many: bool) -> None:
        """Execute, fetch and close on the thread, and leave in ``cursor`` what came of it."""
        await self._execute(self._run, cursor, sql, parameters, many)  # type: ignore[no-untyped-call]  # it is, there

    async def fetch(self, sql: str, /, *values: Any) -> list[Any]:
        """Execute it, and all rows that came of it."""
        cursor = Cursor(self)
        await self.run(cursor, sql, values, many=False)
        return cursor.rows

    def transaction(self) -> "Transaction":
        return Transaction(self)

    def is_closed(self) -> bool:
        return self.stopped is not None

    def _run(self, into: "Cursor", sql: str, parameters: Sequence[Any], many: bool) -> None:  # noqa: FBT001 - the thread's queue passes by position
        cursor = self._conn.cursor()
        try:
            if self._begins:
                cursor.execute("BEGIN IMMEDIATE")
                self._begins = False
            if many:
                cursor.executemany(sql, parameters)
            else:
                cursor.execute(sql, parameters)
            into.rows = cursor.fetchall()
            into.description = cursor.description
            into.rowcount = cursor.rowcount
            into.lastrowid = cursor.lastrowid
        finally:
            cursor.close()


def _opened(database: str, options: dict[str, Any]) -> sqlite3.Connection:
    """A connection in WAL mode. Runs on the connection's own thread, and so may sleep.

    Of several that turn a new file to WAL at once SQLite lets one through and refuses the rest at once, whatever
    their busy timeout: each holds the lock that the others wait for.

    Raises:
        sqlite3.Error: among them that the file was not free in time.
    """
    connection: sqlite3.Connection = sqlite3.connect(database, **options)
    deadline = time.monotonic() + _WAIT_SECONDS
    try:
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError as fault:
                if fault.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)
            else:
                return connection
    except BaseException:
        connection.close()
        raise


class Cursor:
    """What SQLAlchemy asks of an asynchronous cursor (``sqlalchemy.connectors.asyncio``)."""

    arraysize = 1

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.rows: list[Any] = []
        self.description: Any = None
        self.rowcount = -1
        self.lastrowid: int | None = None

    async def __aenter__(self) -> Self:
        return self

    async def execute(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        await self._connection.run(self, sql, parameters, many=False)

    async def executemany(self, sql: str, parameters: Sequence[Sequence[Any]]) -> None:
        await self._connection.run(self, sql, parameters, many=True)

    async def fetchall(self) -> list[Any]:
        return self.rows

    async def close(self) -> None:
        """Nothing: it was closed where it was used."""


class Transaction:
    """One of a connection's, in the words of asyncpg's."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def start(self) -> None:
        """Begun with its first statement."""
        self._connection.begin()

    async def commit(self) -> None:
        await self._connection.commit()

    async def rollback(self) -> None:
        await self._connection.rollback()
