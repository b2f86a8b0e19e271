"""What is told of attempts that begin: the database writes it into the outbox itself, from one pattern.

So a claim, of which nothing but ids and attempts is new, needs no second way to the database. What the event
says is not decided here, and no job is changed.
"""

from collections.abc import Collection
from functools import cache
from typing import Final

import orjson
from sqlalchemy import (
    CTE,
    ColumnElement,
    Insert,
    LargeBinary,
    Table,
    Text,
    TextClause,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
    text,
)

from tidings.domain.channel import ChannelKind
from tidings.domain.event import Event
from tidings.store.columns import Moment
from tidings.store.tables import jobs, outbox

JOB: Final = "{job}"
ATTEMPT: Final = '"{attempt}"'
"""Where a job's id and its attempt belong in the pattern's JSON: within a string, and as a number."""

_COLUMNS: Final = ("tenant_id", "channel_kind", "channel_name", "event", "data", "klass", "key", "created_at")
_AMONG: Final = text("jobs.id IN (SELECT value FROM json_each(:ids))").bindparams(
    bindparam("ids", type_=Text)
)


def of_pattern(pattern: Event) -> dict[str, object]:
    """The pattern as parameters; ``now`` is a parameter too."""
    return {"event": pattern.name, "pattern": pattern.data.decode(), "klass": pattern.klass.value}


def among(job_ids: Collection[str]) -> dict[str, object]:
    """The parameter of ``told_among``."""
    return {"ids": orjson.dumps(list(job_ids)).decode()}


def told_of(begun: CTE) -> CTE:
    """The events of the jobs that an expression returns, as an expression beside it. PostgreSQL alone has such."""
    return _insert(begun, func.convert_to(_data(begun), "UTF8")).cte("told")


@cache
def told_among() -> Insert:
    """The events of claimed jobs, as a statement of its own."""
    return _insert(jobs, cast(_data(jobs), LargeBinary), _AMONG)


def _insert(
    begun: CTE | Table, data: ColumnElement[bytes], *which: ColumnElement[bool] | TextClause
) -> Insert:
    """A line for each new attempt. Its key is its own, since no number is given to two attempts."""
    query = (
        select(
            begun.c.tenant_id,
            literal(ChannelKind.JOB.value),
            begun.c.id,
            bindparam("event", type_=Text),
            data,
            bindparam("klass", type_=Text),
            begun.c.id + " " + cast(begun.c.attempt, Text),
            bindparam("now", type_=Moment),
        )
        .where(begun.c.waiting_since.is_(None), *which)
        .order_by(begun.c.id)
    )
    return insert(outbox).from_select(_COLUMNS, query)


def _data(begun: CTE | Table) -> ColumnElement[str]:
    named = func.replace(bindparam("pattern", type_=Text), JOB, begun.c.id)
    return func.replace(named, ATTEMPT, cast(begun.c.attempt, Text))
