"""The queue's SQL: workers hold jobs by leases, and give them back in one state or another.

A job is held by one worker at a time, for one attempt. Every write here names both, so one whose lease was
lost writes nothing, however late it wakes up. How jobs are come by is ``claims``'; how long a lease is and when a
failed job runs again is decided by ``tidings.jobs``.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from typing import Any, Final

import orjson
from sqlalchemy import (
    ColumnElement,
    Text,
    TextClause,
    bindparam,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.job import JobError, JobStatus
from tidings.domain.strictjson import dumps
from tidings.store.columns import Moment
from tidings.store.job_rows import StoredJob, locked, stored_of
from tidings.store.tables import jobs
from tidings.store.tenancy import crosses_tenants

_FREE: Final[dict[str, Any]] = {"lease_owner": None, "lease_expires_at": None, "waiting_since": None}
_QUEUED: Final[dict[str, Any]] = {
    "status": JobStatus.QUEUED.value,
    "stage": None,
    "progress": 0.0,
    **_FREE,
}

# Statements are composed once: that takes about as long as running one.
_NOTE: Final = (
    update(jobs)
    .where(
        jobs.c.id == bindparam("the_id"),
        jobs.c.attempt == bindparam("the_attempt"),
        jobs.c.lease_owner == bindparam("the_worker"),
    )
    .values(
        stage=bindparam("the_stage"),
        progress=bindparam("the_progress"),
        message=bindparam("the_message"),
    )
)
_FINISH: Final = """
WITH {news}
UPDATE jobs
   SET status = news.status, result = news.result, message = news.message,
       error_code = news.code, error_message = news.error,
       progress = CASE WHEN news.status = 'succeeded' THEN 1.0 ELSE jobs.progress END,
       finished_at = :now, lease_owner = NULL, lease_expires_at = NULL, waiting_since = NULL
  FROM news
 WHERE jobs.id = news.id AND jobs.attempt = news.attempt AND {owned}
RETURNING jobs.id, jobs.attempt
"""
# A batch is one parameter, because each costs more than all that the database does with it. The words of each
# database, and on PostgreSQL the lock in the order of the ids, as ``locked`` has it.
_NEWS: Final = {
    "sqlite": """
    news AS (
        SELECT value ->> 'id' AS id, value ->> 'attempt' AS attempt, value ->> 'status' AS status,
               value ->> 'result' AS result, value ->> 'code' AS code, value ->> 'error' AS error,
               value ->> 'message' AS message
          FROM json_each(:batch))""",
    "postgresql": """
    news AS MATERIALIZED (
        SELECT one.*
          FROM (SELECT * FROM json_to_recordset(CAST(:batch AS json)) AS one(
                    id text, attempt integer, status text, result text, code text, error text, message text)
                 ORDER BY id COLLATE "C") AS one
          JOIN LATERAL (SELECT jobs.attempt FROM jobs WHERE jobs.id = one.id AND {owned} FOR UPDATE) AS held
            ON held.attempt = one.attempt)""",
}
# Held jobs are found by their ids: the one way and the other these words take the index over owners, of whose jobs
# each would have to be compared with all the others, out of the choice.
_OURS: Final = {
    "sqlite": "+jobs.lease_owner = :worker",
    "postgresql": "coalesce(jobs.lease_owner, '') = :worker",
}
_NOBODYS: Final = "jobs.run_at IS NULL AND jobs.status IN ('queued', 'running')"
_RETRY: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("the_id"))
    .values(**_QUEUED, run_at=bindparam("the_moment"), message=bindparam("the_message"))
)
_WAIT: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("the_id"))
    .values(
        **{
            **_FREE,
            "waiting_since": bindparam("the_moment"),
            "waiting_from": jobs.c.progress,
            "waiting_until": bindparam("the_end"),
        }
    )
)


@dataclass(frozen=True, slots=True, order=True)
class Lease:
    """One attempt at one job."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Renewed:
    """What a worker still holds, as job id -> attempt, and for which of that cancellation was asked."""

    held: dict[str, int]
    cancelled: frozenset[str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended for good. ``status`` is a finished one."""

    lease: Lease
    status: JobStatus
    result: Any = None
    error: JobError | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt that failed and is followed by another, not before ``run_at``."""

    lease: Lease
    run_at: datetime
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """An attempt that goes on when the job's children are over; its progress is ``until`` then."""

    lease: Lease
    until: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an attempt has come; ``progress`` is 0 to 1."""

    lease: Lease
    stage: str | None
    progress: float
    message: str | None = None


@crosses_tenants("a worker renews the leases of every tenant's jobs in one statement")
async def renew(tx: AsyncConnection, worker: str, now: datetime, lease_seconds: float) -> Renewed:
    """Hold on to whatever the worker still holds. What is missing from the answer is another's, or over."""
    mine = locked(jobs.c.lease_owner == worker).cte("mine")
    statement = (
        update(jobs)
        .where(jobs.c.id.in_(select(mine.c.id)))
        .values(lease_expires_at=now + timedelta(seconds=lease_seconds))
        .returning(jobs.c.id, jobs.c.attempt, jobs.c.cancel_requested)
    )
    rows = (await tx.execute(statement)).all()
    return Renewed(
        {job_id: attempt for job_id, attempt, _ in rows},
        frozenset(job_id for job_id, _, cancelled in rows if cancelled),
    )


@crosses_tenants("a worker writes what it knows of every tenant's jobs in one batch, fenced by its leases")
async def note(tx: AsyncConnection, worker: str, news: Iterable[Progress]) -> None:
    """Keep how far attempts have come, for those who ask later. What the worker has lost stays as it is."""
    rows = [
        {
            "the_worker": worker,
            "the_id": one.lease.job_id,
            "the_attempt": one.lease.attempt,
            "the_stage": one.stage,
            "the_progress": one.progress,
            "the_message": one.message,
        }
        for one in sorted(news, key=lambda one: one.lease)
    ]
    if rows:
        await tx.execute(_NOTE, rows)


@crosses_tenants("a worker ends the jobs of every tenant in one batch, fenced by its leases")
async def finish(
    tx: AsyncConnection, worker: str | None, outcomes: Iterable[Outcome], now: datetime
) -> set[Lease]:
    """End jobs for good, and return the leases for which it took; the others were lost.

    ``worker`` is None for external jobs, which nobody holds.
    """
    batch = [_row(one) for one in outcomes]
    if not batch:
        return set()
    values = {"batch": orjson.dumps(batch).decode(), "now": now}
    if worker is not None:
        values["worker"] = worker
    rows = await tx.execute(_finish(tx.dialect.name, ours=worker is not None), values)
    return {Lease(job_id, attempt) for job_id, attempt in rows}


@crosses_tenants("a worker gives back the jobs of every tenant in one batch, fenced by its leases")
async def retry_later(tx: AsyncConnection, worker: str, retries: Iterable[Retry]) -> set[Lease]:
    """Queue jobs for another attempt, and return the leases for which it took.

    Not for a job whose cancellation was asked for: it takes ``finish`` to end that.
    """
    by_lease = {one.lease: one for one in retries}
    held = await _held(tx, worker, by_lease, jobs.c.cancel_requested.is_(False))
    rows = [
        {"the_id": lease.job_id, "the_moment": one.run_at, "the_message": one.message}
        for lease, one in by_lease.items()
        if lease in held
    ]
    if rows:
        await tx.execute(_RETRY, rows)
    return held


@crosses_tenants("a worker gives back the jobs of every tenant in one batch, fenced by its leases")
async def wait(tx: AsyncConnection, worker: str, waits: Iterable[Wait], now: datetime) -> set[Lease]:
    """Let jobs wait for their children, held by nobody; the leases for which it took.

    As with ``retry_later``, not for what is to be cancelled.
    """
    by_lease = {one.lease: one for one in waits}
    held = await _held(tx, worker, by_lease, jobs.c.cancel_requested.is_(False))
    rows = [
        {"the_id": lease.job_id, "the_moment": now, "the_end": one.until}
        for lease, one in by_lease.items()
        if lease in held
    ]
    if rows:
        await tx.execute(_WAIT, rows)
    return held


@crosses_tenants("a worker gives back the jobs of every tenant in one batch, fenced by its leases")
async def release(tx: AsyncConnection, worker: str, leases: Collection[Lease]) -> set[Lease]:
    """Hand jobs back unfinished, at no cost to their attempts; the leases for which it took.

    Attempts are never counted back, since a number that was given twice would fence nothing: there is one
    more to come instead. As with ``retry_later``, not for what is to be cancelled.
    """
    held = await _held(tx, worker, leases, jobs.c.cancel_requested.is_(False))
    statement = (
        update(jobs)
        .where(jobs.c.id.in_([lease.job_id for lease in held]))
        .values(**_QUEUED, max_attempts=jobs.c.max_attempts + 1)
    )
    if held:
        await tx.execute(statement)
    return held


@crosses_tenants("the reaper looks after the jobs of every tenant")
async def expired(tx: AsyncConnection, now: datetime, limit: int) -> list[StoredJob]:
    """Jobs whose lease has run out, and external ones past their deadline, those first that wait longest.

    Locked until the transaction ends, in which they are to be finished or queued again under their owner's
    name; what another reaper has locked is passed over.
    """
    query = (
        select(jobs)
        .where(jobs.c.lease_expires_at <= now)
        .order_by(jobs.c.lease_expires_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return [stored_of(row) for row in await tx.execute(query)]


@cache
def _finish(dialect: str, *, ours: bool) -> TextClause:
    """The statement of ``finish``."""
    owned = _OURS[dialect] if ours else _NOBODYS
    statement = text(_FINISH.format(news=_NEWS[dialect].format(owned=owned), owned=owned)).bindparams(
        bindparam("batch", type_=Text), bindparam("now", type_=Moment)
    )
    return statement.bindparams(bindparam("worker", type_=Text)) if ours else statement


def _row(one: Outcome) -> dict[str, object]:
    return {
        "id": one.lease.job_id,
        "attempt": one.lease.attempt,
        "status": one.status.value,
        "result": None if one.result is None else dumps(one.result).decode(),
        "code": None if one.error is None else one.error.code,
        "error": None if one.error is None else one.error.message,
        "message": one.message,
    }


async def _held(
    tx: AsyncConnection, worker: str, leases: Collection[Lease], *also: ColumnElement[bool]
) -> set[Lease]:
    """Those of ``leases`` that are the worker's own still, locked."""
    owned = jobs.c.lease_owner == worker
    which = locked(jobs.c.id.in_({lease.job_id for lease in leases}), owned, *also)
    rows = await tx.execute(which.add_columns(jobs.c.attempt))
    return {Lease(job_id, attempt) for job_id, attempt in rows}.intersection(leases)
