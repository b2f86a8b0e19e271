"""Jobs as their owners see and steer them: add, find, list, cancel, retry; and the reports on external ones.

What workers do with jobs is in ``claims`` (begin) and ``lease`` (renew, finish).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Text,
    and_,
    bindparam,
    case,
    delete,
    exists,
    func,
    literal,
    null,
    select,
    text,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.channel import Channel
from tidings.domain.event import Event
from tidings.domain.job import Job, JobError, JobStatus
from tidings.domain.people import TenantId, UserId
from tidings.store import outbox
from tidings.store.columns import Moment, milliseconds_of
from tidings.store.job_rows import OPEN, StoredJob, batch_of, locked, stored_of
from tidings.store.paging import Page, first_id_at, page_of, read_cursor
from tidings.store.stroke import Statements
from tidings.store.tables import jobs
from tidings.store.tenancy import crosses_tenants

# A batch is one parameter, because each costs more than all that the database does with it.
_INSERT: Final = "INSERT INTO jobs ({names}) SELECT {values} FROM json_each(:jobs)"
_INSERT_AND_TELL: Final = """
WITH made AS (
    INSERT INTO jobs ({names})
    SELECT {names} FROM json_populate_recordset(CAST(NULL AS jobs), CAST(:jobs AS json))
) {tell}
"""
_COLUMNS: Final = [column.name for column in jobs.c]
_NAMES: Final = ", ".join(_COLUMNS)
_VALUES: Final = ", ".join(f"value ->> '{name}'" for name in _COLUMNS)
_BATCH: Final = bindparam("jobs", type_=Text)
_INSERT_SQLITE: Final = text(_INSERT.format(names=_NAMES, values=_VALUES)).bindparams(_BATCH)
_INSERT_POSTGRES: Final = text(
    _INSERT_AND_TELL.format(names=_NAMES, tell=outbox.APPEND["postgresql"])
).bindparams(_BATCH, *outbox.TYPES)


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported on an external job; None leaves a field as it is.

    ``deadline`` is when the next report has to come; None, of a job that is over: none has to.
    """

    sequence: int
    status: JobStatus
    stage: str | None = None
    progress: float | None = None
    message: str | None = None
    result: Any = None
    error: JobError | None = None
    deadline: datetime | None = None


async def insert(
    tx: Statements, stored: Sequence[StoredJob], told: Sequence[tuple[Channel, Event]] = ()
) -> None:
    """Add jobs, and to the outbox what is told of them. On PostgreSQL this is one statement.

    Raises:
        TidingsError: CONFLICT, a parent has a child of that key already.
    """
    if not stored:
        return
    at, batch = stored[0].job.created_at, {"jobs": batch_of(stored, tx.dialect)}
    if tx.dialect.name == "sqlite":
        await tx.execute(_INSERT_SQLITE, batch)
        await outbox.append(tx, told, at)
    else:
        await tx.execute(_INSERT_POSTGRES, batch | {"batch": outbox.batch_of(told), "at": at})


async def get(tx: AsyncConnection, tenant: TenantId, user: UserId, job_id: str) -> StoredJob | None:
    """The user's own job; None: there is no such thing to them."""
    return await _one(tx, and_(jobs.c.id == job_id, jobs.c.tenant_id == tenant, jobs.c.user_id == user))


@crosses_tenants("a worker or a reporter names a job; its tenant is what is being asked")
async def get_any(tx: AsyncConnection, job_id: str) -> StoredJob | None:
    return await _one(tx, jobs.c.id == job_id)


@crosses_tenants("a reporter names a job; its tenant is what is being asked")
async def get_locked(tx: AsyncConnection, job_id: str) -> StoredJob | None:
    """The same, which nobody else changes before the transaction ends."""
    row = (await tx.execute(select(jobs).where(jobs.c.id == job_id).with_for_update())).one_or_none()
    return None if row is None else stored_of(row)


async def page(
    tx: AsyncConnection,
    tenant: TenantId,
    user: UserId,
    *,
    cursor: str | None,
    limit: int,
    status: JobStatus | None = None,
    kind: str | None = None,
    parent: str | None = None,
) -> Page[Job]:
    """The user's jobs, the newest first; of a ``parent`` its own children.

    Raises:
        TidingsError: VALIDATION_FAILED, no cursor of ours.
    """
    query = (
        select(jobs)
        .where(jobs.c.tenant_id == tenant, jobs.c.user_id == user)
        .order_by(jobs.c.id.desc())
        .limit(limit + 1)
    )
    if status is not None:
        query = query.where(_shown == status.value)
    if kind is not None:
        query = query.where(jobs.c.kind == kind)
    if parent is not None:
        query = query.where(jobs.c.parent_id == parent)
    if cursor is not None:
        query = query.where(jobs.c.id < read_cursor(cursor))
    found = [stored_of(row).job for row in await tx.execute(query)]
    return page_of(found, limit, lambda job: job.id)


async def children(tx: AsyncConnection, tenant: TenantId, parent_id: str) -> list[StoredJob]:
    """The parent's own children, the oldest first."""
    query = select(jobs).where(jobs.c.parent_id == parent_id, jobs.c.tenant_id == tenant).order_by(jobs.c.id)
    return [stored_of(row) for row in await tx.execute(query)]


async def cancel(
    tx: AsyncConnection, tenant: TenantId, user: UserId, job_id: str, now: datetime
) -> StoredJob | None:
    """Cancel what no worker holds, ask the worker of what is held; None: not there, or over already."""
    own = and_(jobs.c.id == job_id, jobs.c.tenant_id == tenant, jobs.c.user_id == user)
    ended = await _cancel(tx, own, now)
    return ended[0] if ended else None


async def cancel_below(
    tx: AsyncConnection, tenant: TenantId, parent_id: str, now: datetime
) -> list[StoredJob]:
    """The same for every job below a parent, children's children included; those it concerned."""
    below = (
        select(jobs.c.id)
        .where(jobs.c.parent_id == parent_id, jobs.c.tenant_id == tenant)
        .cte("below", recursive=True)
    )
    below = below.union(select(jobs.c.id).join(below, jobs.c.parent_id == below.c.id))
    return await _cancel(tx, jobs.c.id.in_(select(below.c.id)), now)


async def retry(
    tx: AsyncConnection, tenant: TenantId, user: UserId, job_id: str, attempts: int, now: datetime
) -> StoredJob | None:
    """Queue a failed or cancelled job again with ``attempts`` more; None: not there, or neither of them."""
    external = jobs.c.run_at.is_(None)
    parent = jobs.alias("parent")
    orphan = exists().where(parent.c.id == jobs.c.parent_id, parent.c.status.not_in(OPEN)).correlate(jobs)
    deadline = literal(milliseconds_of(now), BigInteger) + jobs.c.timeout_seconds * 1000
    statement = (
        update(jobs)
        .where(
            jobs.c.id == job_id,
            jobs.c.tenant_id == tenant,
            jobs.c.user_id == user,
            jobs.c.status.in_((JobStatus.FAILED.value, JobStatus.CANCELLED.value)),
        )
        .values(
            status=JobStatus.QUEUED.value,
            stage=None,
            progress=0.0,
            message=None,
            result=None,
            error_code=None,
            error_message=None,
            max_attempts=jobs.c.attempt + attempts,
            run_at=case((external, null()), else_=literal(now, Moment)),
            lease_expires_at=case((external, deadline)),
            # A child whose parent is over runs for itself, or its parent would end it.
            child_key=case((orphan, null()), else_=jobs.c.child_key),
            finished_at=None,
            cancel_requested=False,
        )
        .returning(jobs)
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else stored_of(row)


async def report(
    tx: AsyncConnection, tenant: TenantId, job_id: str, news: Report, now: datetime
) -> StoredJob | None:
    """Note what is reported on an external job; None: it is over, or that sequence number was used already."""
    given = {
        "stage": news.stage,
        "progress": news.progress,
        "message": news.message,
        "result": news.result,
        "error_code": None if news.error is None else news.error.code,
        "error_message": None if news.error is None else news.error.message,
        "finished_at": now if news.status.finished else None,
    }
    begins = jobs.c.status == JobStatus.QUEUED.value
    statement = (
        update(jobs)
        .where(
            jobs.c.id == job_id,
            jobs.c.tenant_id == tenant,
            jobs.c.status.in_(OPEN),
            jobs.c.run_at.is_(None),
            func.coalesce(jobs.c.report_sequence, -1) < news.sequence,
        )
        .values(
            status=news.status.value,
            attempt=jobs.c.attempt + case((begins, 1), else_=0),
            started_at=case((begins, literal(now, Moment)), else_=jobs.c.started_at),
            report_sequence=news.sequence,
            lease_expires_at=news.deadline,
            **{column: value for column, value in given.items() if value is not None},
        )
        .returning(jobs)
    )
    row = (await tx.execute(statement)).one_or_none()
    return None if row is None else stored_of(row)


@crosses_tenants("retention is one for all tenants")
async def purge(tx: AsyncConnection, before: datetime, limit: int) -> list[str]:
    """Delete at most ``limit`` of those that were over before; their ids, whose files can go too."""
    oldest = (
        select(jobs.c.id)
        .where(jobs.c.id < first_id_at(before), jobs.c.finished_at < before)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return list((await tx.execute(delete(jobs).where(jobs.c.id.in_(oldest)).returning(jobs.c.id))).scalars())


_shown: Final = case(
    (
        and_(jobs.c.status == JobStatus.QUEUED.value, jobs.c.waiting_since.is_not(None)),
        JobStatus.RUNNING.value,
    ),
    else_=jobs.c.status,
)
"""The status as ``stored_of`` has it."""


async def _one(tx: AsyncConnection, which: ColumnElement[bool]) -> StoredJob | None:
    row = (await tx.execute(select(jobs).where(which))).one_or_none()
    return None if row is None else stored_of(row)


async def _cancel(tx: AsyncConnection, which: ColumnElement[bool], now: datetime) -> list[StoredJob]:
    still_open = jobs.c.status.in_(OPEN)
    held = jobs.c.lease_owner.is_not(None)
    chosen = locked(which, still_open).cte("chosen")
    statement = (
        update(jobs)
        .where(jobs.c.id.in_(select(chosen.c.id)), still_open)
        .values(
            status=case((held, jobs.c.status), else_=JobStatus.CANCELLED.value),
            finished_at=case((held, null()), else_=literal(now, Moment)),
            lease_expires_at=case((held, jobs.c.lease_expires_at)),
            waiting_since=case((held, jobs.c.waiting_since)),
            cancel_requested=True,
        )
        .returning(jobs)
    )
    return sorted(map(stored_of, await tx.execute(statement)), key=lambda stored: stored.job.id)
