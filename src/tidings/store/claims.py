"""How workers come by jobs: those whose turn it is, or certain ones.

A claimed job is its worker's by a lease (``lease``). How many to claim, and when certain ones are enough, is decided
by ``tidings.jobs``.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import CTE, ColumnElement, Executable, Text, bindparam, case, func, select, text, update

from tidings.domain.event import Event
from tidings.domain.job import JobPriority, JobStatus
from tidings.store import beginnings
from tidings.store.columns import Moment
from tidings.store.job_rows import StoredJob, stored_of
from tidings.store.stroke import Statements
from tidings.store.tables import jobs
from tidings.store.tenancy import crosses_tenants
from tidings.store.turn import depth, next_in_turn

# Each is looked up by its id: what is queued as a whole is out of the choice.
_NAMED: Final = {
    "sqlite": """
SELECT jobs.id FROM jobs
 WHERE jobs.id IN (SELECT value FROM json_each(:ids)) AND +jobs.status = 'queued' AND +jobs.run_at <= :now
   AND +jobs.kind IN (SELECT value FROM json_each(:kinds))""",
    "postgresql": """
SELECT jobs.id FROM jobs
 WHERE jobs.id = ANY(ARRAY(SELECT json_array_elements_text(CAST(:ids AS json))))
   AND coalesce(jobs.status, '') = 'queued' AND jobs.run_at <= :now
   AND jobs.kind = ANY(ARRAY(SELECT json_array_elements_text(CAST(:kinds AS json))))
   FOR UPDATE SKIP LOCKED""",
}


@crosses_tenants("whose turn it is among the tenants is what is being asked")
async def in_turn(
    tx: Statements,
    worker: str,
    kinds: Collection[str],
    limit: int,
    now: datetime,
    lease_seconds: float,
    pattern: Event | None = None,
) -> list[StoredJob]:
    """Start at most ``limit`` jobs of those kinds, whose turn it is, as ``worker``'s.

    Of several workers that claim at once each gets other jobs. One that has waited for its children goes on
    where it was, which is no new attempt. Of each new attempt an event of that pattern (``beginnings``) is put
    into the outbox, on PostgreSQL by the same statement.
    """
    which = {"kinds": _array(kinds), "size": limit, "reach": depth(tx.dialect.name, limit)}
    return await _start(tx, worker, which, now, lease_seconds, pattern)


@crosses_tenants("a worker is told of new jobs by their ids, whose tenants it learns with them")
async def named(
    tx: Statements,
    worker: str,
    job_ids: Collection[str],
    kinds: Collection[str],
    now: datetime,
    lease_seconds: float,
    pattern: Event | None = None,
) -> list[StoredJob]:
    """Start those of these jobs that may run now and are of those kinds, as ``in_turn`` does, whoever's turn it is.

    It takes the database half the time to find out.
    """
    which = {"kinds": _array(kinds), "ids": _array(job_ids)}
    return await _start(tx, worker, which, now, lease_seconds, pattern)


async def _start(
    tx: Statements,
    worker: str,
    which: dict[str, Any],
    now: datetime,
    lease_seconds: float,
    pattern: Event | None,
) -> list[StoredJob]:
    dialect = tx.dialect.name
    told = {} if pattern is None else beginnings.of_pattern(pattern)
    at_once = pattern is not None and dialect != "sqlite"
    parameters = which | {"now": now, "worker": worker, "until": now + timedelta(seconds=lease_seconds)}
    statement = _claim(dialect, named="ids" in which, tell=at_once)
    rows = await tx.execute(statement, parameters | told if at_once else parameters)
    claimed = [stored_of(row) for row in rows]
    if claimed and pattern is not None and not at_once:
        begun = beginnings.among([stored.job.id for stored in claimed])
        await tx.execute(beginnings.told_among(), told | begun | {"now": now})
    return sorted(claimed, key=lambda stored: (stored.job.priority is not JobPriority.PRO, stored.job.id))


@cache
def _claim(dialect: str, *, named: bool, tell: bool) -> Executable:
    """The statement of ``in_turn`` or ``named``."""
    goes_on = jobs.c.waiting_since.is_not(None)
    statement = (
        update(jobs)
        .where(_among(_named(dialect) if named else next_in_turn(dialect), dialect))
        .values(
            status=JobStatus.RUNNING.value,
            stage=case((goes_on, jobs.c.stage)),
            progress=case((goes_on, jobs.c.progress), else_=0.0),
            message=case((goes_on, jobs.c.message)),
            attempt=jobs.c.attempt + case((goes_on, 0), else_=1),
            started_at=case((goes_on, jobs.c.started_at), else_=bindparam("now", type_=Moment)),
            lease_owner=bindparam("worker"),
            lease_expires_at=bindparam("until"),
        )
        .returning(jobs)
    )
    if not tell:
        return statement
    begun = statement.cte("begun")
    return select(begun).add_cte(beginnings.told_of(begun))


def _named(dialect: str) -> CTE:
    """The ids of those of ``:ids`` that may run ``:now`` and are of ``:kinds``, both JSON arrays."""
    query = text(_NAMED[dialect]).bindparams(
        bindparam("ids", type_=Text), bindparam("kinds", type_=Text), bindparam("now", type_=Moment)
    )
    return query.columns(jobs.c.id).cte("named")


def _among(chosen: CTE, dialect: str) -> ColumnElement[bool]:
    """Those that were chosen. As an array PostgreSQL has no choice but to look each up by its id."""
    ids = select(chosen.c.id)
    return (
        jobs.c.id.in_(ids)
        if dialect == "sqlite"
        else jobs.c.id == func.any(func.array(ids.scalar_subquery()))
    )


def _array(words: Collection[str]) -> str:
    return orjson.dumps(list(words)).decode()
