"""A job as a row and back, and what ``jobs`` and ``lease`` both say about rows of that table."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import ColumnElement, Dialect, Row, Select, TypeDecorator, select

from tidings.domain.job import Artifact, Job, JobError, JobStatus
from tidings.store.tables import jobs

OPEN: Final = (JobStatus.QUEUED.value, JobStatus.RUNNING.value)
"""The states of a job that is not over."""


_OF_OURS: Final = [(one.name, one.type) for one in jobs.c if isinstance(one.type, TypeDecorator)]
"""Columns that keep values in a form of their own."""


@dataclass(frozen=True, slots=True)
class StoredJob:
    """A job with what only the server knows of it.

    ``run_at`` is the earliest start; None: the job is external, no worker of ours starts it. ``lease_owner``
    is the worker that holds it until ``lease_expires_at``; an external job has that deadline and no owner.
    ``waiting_since`` is set while it waits for its children, and in the run that goes on after that, for which
    ``children`` are loaded, if somebody asked for them.
    """

    job: Job
    message: str | None = None
    run_at: datetime | None = None
    timeout_seconds: int | None = None
    lease_owner: str | None = None
    lease_expires_at: datetime | None = None
    cancel_requested: bool = False
    reporter_token_hash: str | None = None
    report_sequence: int | None = None
    child_key: str | None = None
    weight: float | None = None
    depth: int = 0
    waiting_since: datetime | None = None
    waiting_from: float | None = None
    waiting_until: float | None = None
    children: tuple["StoredJob", ...] = ()


def stored_of(row: Row[*tuple[Any, ...]]) -> StoredJob:
    """The job in a row of the whole table."""
    error = None if row.error_code is None else JobError(row.error_code, row.error_message)
    job = Job(
        id=row.id,
        tenant_id=row.tenant_id,
        user_id=row.user_id,
        kind=row.kind,
        status=_status(row),
        stage=row.stage,
        # SQLite knows whole numbers only where they are whole, and no booleans.
        progress=float(row.progress),
        attempt=row.attempt,
        max_attempts=row.max_attempts,
        priority=row.priority,
        payload=row.payload,
        result=row.result,
        error=error,
        parent_id=row.parent_id,
        artifacts=artifacts_of(row.artifacts),
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )
    return StoredJob(
        job,
        message=row.message,
        run_at=row.run_at,
        timeout_seconds=row.timeout_seconds,
        lease_owner=row.lease_owner,
        lease_expires_at=row.lease_expires_at,
        cancel_requested=bool(row.cancel_requested),
        reporter_token_hash=row.reporter_token_hash,
        report_sequence=row.report_sequence,
        child_key=row.child_key,
        weight=row.weight,
        depth=row.depth,
        waiting_since=row.waiting_since,
        waiting_from=row.waiting_from,
        waiting_until=row.waiting_until,
    )


def _status(row: Row[*tuple[Any, ...]]) -> JobStatus:
    """A job that goes on after a wait has been running all the time, as far as its user can see."""
    status = JobStatus(row.status)
    goes_on = status is JobStatus.QUEUED and row.waiting_since is not None
    return JobStatus.RUNNING if goes_on else status


def row_of(stored: StoredJob) -> dict[str, object]:
    """The whole row of a job."""
    job = stored.job
    return {
        "id": job.id,
        "tenant_id": job.tenant_id,
        "user_id": job.user_id,
        "kind": job.kind,
        "status": job.status.value,
        "stage": job.stage,
        "progress": job.progress,
        "message": stored.message,
        "attempt": job.attempt,
        "max_attempts": job.max_attempts,
        "priority": job.priority,
        "payload": job.payload,
        "result": job.result,
        "error_code": None if job.error is None else job.error.code,
        "error_message": None if job.error is None else job.error.message,
        "parent_id": job.parent_id,
        "artifacts": artifact_rows(job.artifacts),
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
        "run_at": stored.run_at,
        "timeout_seconds": stored.timeout_seconds,
        "lease_owner": stored.lease_owner,
        "lease_expires_at": stored.lease_expires_at,
        "cancel_requested": stored.cancel_requested,
        "reporter_token_hash": stored.reporter_token_hash,
        "report_sequence": stored.report_sequence,
        "child_key": stored.child_key,
        "weight": stored.weight,
        "depth": stored.depth,
        "waiting_since": stored.waiting_since,
        "waiting_from": stored.waiting_from,
        "waiting_until": stored.waiting_until,
    }


def batch_of(stored: Iterable[StoredJob], dialect: Dialect) -> str:
    """Whole rows as one JSON text, each value as its column keeps it."""
    rows = [row_of(one) for one in stored]
    for row in rows:
        for name, column in _OF_OURS:
            row[name] = column.process_bind_param(row[name], dialect)
    return orjson.dumps(rows).decode()


def artifacts_of(rows: Iterable[dict[str, Any]]) -> tuple[Artifact, ...]:
    """The artifacts in a job's column of that name."""
    return tuple(Artifact(r["name"], r["mediaType"], r["bytes"], r["key"], r["digest"]) for r in rows)


def artifact_rows(artifacts: Iterable[Artifact]) -> list[dict[str, Any]]:
    """What that column holds: more than users are shown."""
    return [{**one.to_json(), "key": one.key, "digest": one.digest} for one in artifacts]


def locked(*which: ColumnElement[bool]) -> Select[str]:
    """The ids of such jobs, their rows locked in the order of the ids.

    Whoever locks several jobs does so through here: two that want the same ones never wait for each other in
    a ring. Within another statement it goes as a common table expression, which runs once; a subquery with a
    lock in it may run once per row.
    """
    return select(jobs.c.id).where(*which).order_by(jobs.c.id).with_for_update()
