"""Jobs that run in somebody else's queue: accepted here, told of here, and ended here when they fall silent.

Whoever runs one reports on it with the job's own token, which is good for nothing else and of which only a hash
is kept. No worker ever claims such a job, and the reaper ends one that was silent for too long.
"""

import hashlib
import hmac
import secrets
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import Field, ValidationError

from tidings import metrics
from tidings.delivery.forms import Form, ReportJob, ReportType, Text, field_errors
from tidings.delivery.relay import Relay
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.ids import is_id
from tidings.domain.job import EXTERNAL, Job, JobError, JobEventType, JobPriority, JobStatus
from tidings.domain.people import Principal, TenantStatus
from tidings.jobs import queue
from tidings.jobs.kinds import ATTEMPTS_KEYWORD
from tidings.jobs.outcome import FAILED, FAILED_MESSAGE
from tidings.jobs.queue import CANCELLED_MESSAGE, Clock, Told
from tidings.jobs.requests import new_job
from tidings.store import jobs, users
from tidings.store import kinds as kind_rows
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.stroke import Statements

TOKEN_PREFIX = "reporter_"  # noqa: S105 - by which people and scanners know a leaked one
_TOKEN_BYTES = 32
_ATTEMPTS = 1
"""How often it is tried is for the other queue to say: what is reported as failed has failed."""

_STATUS = {
    ReportType.PROGRESS: JobStatus.RUNNING,
    ReportType.HEARTBEAT: JobStatus.RUNNING,
    ReportType.COMPLETED: JobStatus.SUCCEEDED,
    ReportType.FAILED: JobStatus.FAILED,
}
_EVENT = {
    ReportType.PROGRESS: JobEventType.PROGRESS,
    ReportType.COMPLETED: JobEventType.COMPLETED,
    ReportType.FAILED: JobEventType.FAILED,
}


class ExternalPayload(Form):
    """``name`` is for people. ``timeout_seconds`` is how long it may be silent."""

    name: Annotated[Text | None, Field(max_length=200)] = None
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = 3600


class External:
    """What is asked of external jobs beyond what is asked of all (``requests``)."""

    def __init__(self, database: Database, relay: Relay, *, clock: Clock = queue.utc_now) -> None:
        self._database = database
        self._relay = relay
        self._clock = clock

    async def start(self) -> None:
        """Make the kind known.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        schema = {**ExternalPayload.model_json_schema(), ATTEMPTS_KEYWORD: _ATTEMPTS}
        async with self._database.write() as tx:
            await kind_rows.register(tx, {EXTERNAL: schema}, self._clock())

    async def submit(
        self, tx: Statements, principal: Principal, *, payload: dict[str, Any], priority: JobPriority
    ) -> tuple[Job, str]:
        """Store a job and its ``queued`` event in the caller's transaction; the job and its reporter's token.

        Then ``committed``. The token cannot be had again.

        Raises:
            TidingsError: VALIDATION_FAILED.
        """
        form = _read(payload)
        now = self._clock()
        token = TOKEN_PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)
        job = new_job(principal, EXTERNAL, payload, priority, _ATTEMPTS, now)
        stored = StoredJob(
            job,
            timeout_seconds=form.timeout_seconds,
            lease_expires_at=now + timedelta(seconds=form.timeout_seconds),
            reporter_token_hash=_hash(token),
        )
        await queue.accept(tx, [stored], now)
        return job, token

    def committed(self) -> None:
        """What was submitted is committed: have it told of. No worker has to hear of it."""
        self._relay.kick()

    async def knows(self, job_id: str, token: str) -> bool:
        """Whether the token is that job's reporter's, and may still be used: a user who may not come in any more is
        not reported to either.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        if not is_id(job_id):
            return False
        async with self._database.read() as tx:
            stored = await jobs.get_any(tx, job_id)
            if stored is None or stored.reporter_token_hash is None:
                return False
            account = (await users.by_ids(tx, [stored.job.user_id])).get(stored.job.user_id)
        if account is None:
            return False
        user, tenant = account
        good = hmac.compare_digest(_hash(token), stored.reporter_token_hash)
        return good and user.active and tenant.status is TenantStatus.ACTIVE

    async def report(self, job_id: str, report: ReportJob) -> None:
        """Write down what is reported, and tell of it. A report that is repeated does nothing.

        Raises:
            TidingsError: CONFLICT, the job is over; UNAVAILABLE.
        """
        now = self._clock()
        async with self._database.write() as tx:
            before = await jobs.get_locked(tx, job_id)
            if before is None or not _is_news(before, report):
                return
            after = await jobs.report(tx, before.job.tenant_id, job_id, _news(before, report, now), now)
            assert after is not None, "it is locked, open and external"
            # Through the outbox, progress too: the next report may come to another node, and overtakes nothing.
            await queue.tell(tx, _told(before.job, after.job, report), now)
        self._relay.kick()
        job = after.job
        if job.finished_at is not None and job.started_at is not None:
            metrics.jobs_finished.labels(job.kind, job.status.value).inc()
            metrics.job_run_seconds.labels(job.kind).observe(
                (job.finished_at - job.started_at).total_seconds()
            )


def _is_news(stored: StoredJob, report: ReportJob) -> bool:
    """False for a report that was taken before.

    Raises:
        TidingsError: CONFLICT, there can be no more news.
    """
    status = stored.job.status
    if status is JobStatus.CANCELLED:
        raise TidingsError(ErrorCode.CONFLICT, CANCELLED_MESSAGE)
    if stored.report_sequence is not None and report.sequence <= stored.report_sequence:
        return False
    if status.finished:
        raise TidingsError(ErrorCode.CONFLICT, "The job is over")
    return True


def _news(stored: StoredJob, report: ReportJob, now: datetime) -> jobs.Report:
    status = _STATUS[report.type]
    assert stored.timeout_seconds is not None, "every external job has one"
    patience = timedelta(seconds=stored.timeout_seconds)
    return jobs.Report(
        sequence=report.sequence,
        status=status,
        stage=report.stage,
        progress=1.0 if status is JobStatus.SUCCEEDED else report.progress,
        message=report.message,
        result=report.result,
        error=_error(report) if status is JobStatus.FAILED else None,
        deadline=None if status.finished else now + patience,
    )


def _error(report: ReportJob) -> JobError:
    if report.error is None:
        return JobError(FAILED, report.message or FAILED_MESSAGE)
    return JobError(report.error.code, report.error.message)


def _told(before: Job, after: Job, report: ReportJob) -> list[Told]:
    """The first report, whatever it says, is also the start."""
    told: list[Told] = []
    if before.status is JobStatus.QUEUED:
        begun = replace(before, status=JobStatus.RUNNING, attempt=after.attempt, started_at=after.started_at)
        told.append((begun, JobEventType.STARTED, None))
    kind = _EVENT.get(report.type)
    if kind is not None:
        told.append((after, kind, report.message))
    return told


def _read(payload: dict[str, Any]) -> ExternalPayload:
    try:
        return ExternalPayload.model_validate(payload)
    except ValidationError as fault:
        fields = tuple(
            FieldError(f"payload.{each.field}".rstrip("."), each.message) for each in field_errors(fault)
        )
        raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=fields) from None


def _hash(token: str) -> str:
    """The token is random enough for a plain hash to be as good as a slow one."""
    return hashlib.sha256(token.encode()).hexdigest()
