"""A small transaction of statements that never change, straight to the driver.

SQLAlchemy composes a statement, once, and lends the connection; to have it run too is most of what so small a
transaction takes in Python. It knows no table, and does not begin or commit.
"""

from collections import namedtuple
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, Self, TypeVar
from weakref import WeakKeyDictionary

from sqlalchemy import ClauseElement, Dialect, TypeDecorator
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from tidings.domain.errors import ErrorCode
from tidings.store.engine import told

Convert = Callable[[Any], Any]
T = TypeVar("T")


class Statements(Protocol):
    """Takes statements: a stroke, or a transaction of SQLAlchemy's."""

    @property
    def dialect(self) -> Dialect: ...

    async def execute(self, statement: Any, parameters: Mapping[str, Any] | None = None, /) -> Iterable[Any]:
        """The rows, which have their values as attributes, and in the order of the columns."""


class Transaction(Protocol):
    """What is between a beginning and an end, as asyncpg has it."""

    async def start(self) -> None: ...

    async def commit(self) -> None: ...

    async def rollback(self) -> None: ...


class Driver(Protocol):
    """What asyncpg's connections and our SQLite's have in common."""

    async def fetch(self, sql: str, /, *values: Any) -> Iterable[Iterable[Any]]:
        """The rows."""

    def transaction(self) -> Transaction: ...

    def is_closed(self) -> bool: ...


class Prepared(NamedTuple):
    """A statement as the driver takes it: its parameters in order, those that it brings itself, and its columns."""

    sql: str
    binds: Sequence[tuple[str, Convert | None]]
    own: Mapping[str, Any]
    columns: Sequence[Convert | None]
    row: Callable[[Iterable[Any]], Any]

    @classmethod
    def of(cls, statement: ClauseElement, dialect: Dialect) -> Self:
        compiled = statement.compile(dialect=dialect)
        assert isinstance(compiled, SQLCompiler)
        assert not compiled.post_compile_params, "the text must be the same for all parameters"
        columns = list(getattr(statement, "exported_columns", ()))
        row = namedtuple("Row", [column.name for column in columns], rename=True)  # type: ignore[misc]  # noqa: PYI024  what columns there are is told at run time
        return cls(
            compiled.string,
            [(name, _given(compiled.binds[name].type, dialect)) for name in compiled.positiontup or ()],
            compiled.params,
            [_taken(column.type, dialect) for column in columns],
            row._make,
        )

    def values(self, given: Mapping[str, Any]) -> list[Any]:
        all_of_them = {**self.own, **given}
        return [
            all_of_them[name] if convert is None else convert(all_of_them[name])
            for name, convert in self.binds
        ]

    def row_of(self, record: Iterable[Any]) -> Any:
        return self.row(
            value if convert is None else convert(value)
            for value, convert in zip(record, self.columns, strict=True)
        )


Shelf = WeakKeyDictionary[ClauseElement, Prepared]
"""Statements that were prepared, for as long as they live."""


class Stroke:
    """``driver`` is that of ``connection``, of whose transaction SQLAlchemy knows nothing."""

    def __init__(self, connection: AsyncConnection, driver: Driver, shelf: Shelf) -> None:
        self.connection = connection
        self.driver = driver
        self._shelf = shelf

    @property
    def dialect(self) -> Dialect:
        return self.connection.dialect

    @property
    def usable(self) -> bool:
        """Whether the connection is still good for another."""
        return not self.connection.invalidated and not self.driver.is_closed()

    async def execute(self, statement: Any, parameters: Mapping[str, Any] | None = None, /) -> list[Any]:
        """Run it; of a text that does not say what its columns are, no rows.

        Raises:
            TidingsError: UNAVAILABLE; CONFLICT for what has to be unique.
        """
        prepared = self._shelf.get(statement)
        if prepared is None:
            prepared = self._shelf[statement] = Prepared.of(statement, self.dialect)
        records = await self.ask(self.driver.fetch, prepared.sql, *prepared.values(parameters or {}))
        return [prepared.row_of(record) for record in records] if prepared.columns else []

    async def ask(self, call: Callable[..., Awaitable[T]], *given: Any) -> T:
        """Call the driver, whose errors are told in our words; after most of them its connection is used no more.

        Raises:
            TidingsError: as ``execute``.
        """
        try:
            return await call(*given)
        except BaseException as error:
            fault = told(error, lost=self.driver.is_closed())
            if fault is None or fault.code is not ErrorCode.CONFLICT:
                await self.connection.invalidate()
            if fault is None:
                raise
            raise fault from error


def _given(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """How a value is handed to the driver, if not as it is."""
    return partial(kind.process_bind_param, dialect=dialect) if isinstance(kind, TypeDecorator) else None


def _taken(kind: TypeEngine[Any], dialect: Dialect) -> Convert | None:
    """What is made of the driver's value, if anything is."""
    return partial(kind.process_result_value, dialect=dialect) if isinstance(kind, TypeDecorator) else None
