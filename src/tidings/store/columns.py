"""Column types: how the domain's values are kept by both databases.

Deliberately not ``DateTime`` or ``JSON``: whole numbers and text mean, sort and compare the same on SQLite and
PostgreSQL, and cost no parsing.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from sqlalchemy import BigInteger, Dialect, Integer, SmallInteger, Text, TypeDecorator

from tidings.domain.job import JobPriority
from tidings.domain.strictjson import dumps

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)

Key = Text().with_variant(Text(collation="C"), "postgresql")
"""Ids, slugs and other words that are compared and sorted: by bytes, whatever language the database speaks."""

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A number the database hands out; SQLite does so only for a column called ``INTEGER``."""


def milliseconds_of(moment: datetime) -> int:
    """Whole milliseconds since 1970, UTC. A moment without a zone is a TypeError."""
    return (moment - _EPOCH) // _MILLISECOND


class Moment(TypeDecorator[datetime]):
    """A moment as ``milliseconds_of`` counts it."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else milliseconds_of(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + value * _MILLISECOND


class Json(TypeDecorator[Any]):
    """Any JSON value as its compact text; None is SQL's NULL."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else dumps(value).decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else orjson.loads(value)


class Rank(TypeDecorator[JobPriority]):
    """A job's priority as a number that sorts what goes first, first."""

    impl = SmallInteger
    cache_ok = True
    _order = (JobPriority.PRO, JobPriority.STANDARD)

    def process_bind_param(self, value: JobPriority | None, dialect: Dialect) -> int | None:
        return None if value is None else self._order.index(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> JobPriority | None:
        return None if value is None else self._order[value]
