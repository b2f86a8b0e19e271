"""SQLAlchemy's engines as we want them: drivers, pools, pragmas, and failures told in our own words.

Kept apart from ``database.py`` because this is all that knows a driver by name.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import URL, AsyncAdaptedQueuePool, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.exc import ArgumentError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from tidings.domain.errors import ErrorCode, TidingsError
from tidings.store import sqlite

WAIT_SECONDS: Final = 5.0
"""How long one waits for a free connection, for SQLite's write lock, for PostgreSQL to let us in."""
STATEMENT_SECONDS: Final = 10.0
"""The longest a statement may take on PostgreSQL before the database counts as lost."""
RETRY_AFTER_SECONDS: Final = 2
"""When a client may come again after the database was lost."""

_DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}
RECYCLE_SECONDS: Final = 1800
"""After how long in the pool a connection to PostgreSQL is made anew, and how long one may be out of it, at hand."""
_WAL_BYTES: Final = 64 * 1024 * 1024

_PRAGMAS: Final = (
    # What was accepted survives a power cut, not only a crash of ours.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA journal_size_limit = {_WAL_BYTES}",
)

_POSTGRES_SETTINGS: Final = {
    "application_name": "tidings",
    # Compiling a plan takes longer than any query of ours.
    "jit": "off",
    # Every query has its index. Of an empty table the planner would read the whole, and a prepared statement
    # keeps such a plan long after the table is empty no more.
    "enable_seqscan": "off",
    # To plan the claim takes three times as long as to run it, and no plan of ours depends on the parameters: what
    # does (a state, a kind of audience) is written into the statement.
    "plan_cache_mode": "force_generic_plan",
}

# Primary result codes (sqlite.org/rescode.html): busy, locked, read-only, I/O error, full, cannot open.
_SQLITE_LOST: Final = frozenset({5, 6, 8, 10, 13, 14})
_SQLITE_NOT_UNIQUE: Final = frozenset({1555, 2067})
# SQLSTATE (PostgreSQL, appendix A), by class: connection exception, invalid authorization, invalid catalog,
# transaction rollback (deadlock among them), insufficient resources, operator intervention; and two codes of
# others: lock not available, read-only transaction.
_POSTGRES_LOST: Final = ("08", "28", "3D", "40", "53", "57", "55P03", "25006")
_POSTGRES_NOT_UNIQUE: Final = "23505"


def driver_url(url: str) -> URL:
    """``url`` with the driver we use for it.

    Raises:
        ValueError: it is of no database we speak to. The message does not repeat it: it may hold a password.
    """
    try:
        address = make_url(url)
    except ArgumentError:
        raise ValueError("the database URL cannot be read") from None
    driver = _DRIVERS.get(address.drivername)
    if driver is None:
        raise ValueError("the database URL must begin with sqlite:/// or postgresql://")
    address = address.set(drivername=driver)
    file = address.database or ""
    if driver.startswith("sqlite") and (not file or file.startswith((":memory:", "file:"))):
        raise ValueError("the SQLite URL must name a file: sqlite:///path/to/file")
    if "sslmode" in address.query:
        # libpq's name, found in most connection strings; asyncpg takes the same words as ``ssl``.
        address = address.update_query_dict({"ssl": address.query["sslmode"]})
        address = address.difference_update_query(["sslmode"])
    return address


def writing_engine(address: URL, pool_size: int, *, statement_seconds: float | None = None) -> AsyncEngine:
    """For transactions. On SQLite a pool of one, the queue its writers wait in; the file's folder is made."""
    if address.get_backend_name() == "sqlite":
        Path(str(address.database)).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # What may take long itself waits as long for its turn.
        engine = _sqlite_engine(address, 1, wait_seconds=statement_seconds or WAIT_SECONDS)
        event.listen(engine.sync_engine, "begin", _begin)
        return engine
    engine = create_async_engine(
        address,
        hide_parameters=True,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        pool_recycle=RECYCLE_SECONDS,
        pool_use_lifo=True,
        connect_args={
            "timeout": WAIT_SECONDS,
            "command_timeout": statement_seconds or STATEMENT_SECONDS,
            "server_settings": _POSTGRES_SETTINGS,
        },
    )
    event.listen(engine.sync_engine, "handle_error", _told, retval=True)
    return engine


def reading_engine(writer: AsyncEngine, pool_size: int) -> AsyncEngine:
    """For queries: no BEGIN, no ROLLBACK, and on SQLite connections that refuse to write."""
    if writer.dialect.name == "sqlite":
        return _sqlite_engine(writer.url, pool_size, read_only=True)
    return writer.execution_options(isolation_level="AUTOCOMMIT")


@asynccontextmanager
async def connected(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection of the pool. What fails before there is one never reaches SQLAlchemy's error handling.

    Raises:
        TidingsError: UNAVAILABLE.
    """
    async with AsyncExitStack() as stack:
        try:
            connection = await stack.enter_async_context(engine.connect())
        except (OSError, PoolTimeoutError) as error:
            raise _unavailable(error) from error
        yield connection


def _unavailable(error: BaseException) -> TidingsError:
    """The database is lost, for now. What was wrong is for the log."""
    return TidingsError(
        ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER_SECONDS, detail=f"{type(error).__name__}: {error}"
    )


def _sqlite_engine(
    address: URL, pool_size: int, *, read_only: bool = False, wait_seconds: float = WAIT_SECONDS
) -> AsyncEngine:
    engine = create_async_engine(
        address,
        hide_parameters=True,
        poolclass=AsyncAdaptedQueuePool,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=WAIT_SECONDS,
        # The driver begins no transaction by itself; ``_begin`` does.
        connect_args={"async_creator_fn": sqlite.Connection, "isolation_level": None},
        skip_autocommit_rollback=read_only,
    )

    def prepare(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(pragma)
        cursor.execute(f"PRAGMA busy_timeout = {round(wait_seconds * 1000)}")
        if read_only:
            cursor.execute("PRAGMA query_only = ON")
        cursor.close()

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "handle_error", _told, retval=True)
    return engine


def _begin(connection: Connection) -> None:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite.Connection), "made by async_creator_fn"
    driver.begin()


def _told(context: ExceptionContext) -> BaseException | None:
    return told(context.original_exception, lost=context.is_disconnect)


def told(error: BaseException, *, lost: bool) -> TidingsError | None:
    """A driver's error in our words, or None to leave it as it is: a fault of ours. ``lost``: so is the connection."""
    if not isinstance(error, Exception):
        # A cancelled call may be taken for a lost connection. To its task it has to remain what it is.
        return None
    code = getattr(error, "sqlite_errorcode", None)
    state = getattr(error, "sqlstate", None) or ""
    if code in _SQLITE_NOT_UNIQUE or state == _POSTGRES_NOT_UNIQUE:
        return TidingsError(ErrorCode.CONFLICT, detail=str(error))
    lost |= code is not None and code & 0xFF in _SQLITE_LOST
    if lost or state.startswith(_POSTGRES_LOST) or isinstance(error, OSError):
        return _unavailable(error)
    return None
