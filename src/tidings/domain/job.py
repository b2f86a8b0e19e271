"""A job, the states it can be in, and the events that tell of it."""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tidings.domain.channel import Channel, job_channel
from tidings.domain.clock import rfc3339, rfc3339_or_none
from tidings.domain.event import EventClass
from tidings.domain.people import TenantId, UserId

EXTERNAL = "external"
"""The kind of the jobs that run in somebody else's queue."""


class JobStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in FINISHED


FINISHED = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED})


class JobPriority(StrEnum):
    STANDARD = "standard"
    PRO = "pro"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many starts in any so many seconds."""

    starts: int
    seconds: float


class JobEventType(StrEnum):
    SNAPSHOT = "snapshot"
    QUEUED = "queued"
    STARTED = "started"
    PROGRESS = "progress"
    ARTIFACT = "artifact"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL

    @property
    def klass(self) -> EventClass:
        if self.terminal:
            return EventClass.FINAL
        return EventClass.PROGRESS if self is JobEventType.PROGRESS else EventClass.STATE


_TERMINAL = frozenset({JobEventType.COMPLETED, JobEventType.FAILED, JobEventType.CANCELLED})

TERMINAL_TYPE = {
    JobStatus.SUCCEEDED: JobEventType.COMPLETED,
    JobStatus.FAILED: JobEventType.FAILED,
    JobStatus.CANCELLED: JobEventType.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class JobError:
    code: str
    message: str

    def to_json(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


ARTIFACT_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}", re.ASCII)
_WORD = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
MEDIA_TYPE = re.compile(rf"{_WORD}/{_WORD}(; ?{_WORD}={_WORD}){{0,4}}", re.ASCII)
"""``type/subtype``, with a few parameters that need no quotes (RFC 9110, section 8.3.1)."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a job made. ``key`` says where its bytes are stored, and ``digest`` is their SHA-256 in hex;
    both are for the server alone.
    """

    name: str
    media_type: str
    size: int
    key: str = ""
    digest: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "mediaType": self.media_type, "bytes": self.size}


@dataclass(frozen=True, slots=True)
class Job:
    """A job belongs to ``user_id`` alone. ``progress`` is 0 to 1; ``attempt`` is 0 before the first start."""

    id: str
    tenant_id: TenantId
    user_id: UserId
    kind: str
    status: JobStatus
    stage: str | None
    progress: float
    attempt: int
    max_attempts: int
    priority: JobPriority
    payload: dict[str, Any]
    result: Any
    error: JobError | None
    parent_id: str | None
    artifacts: tuple[Artifact, ...]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def channel(self) -> Channel:
        return job_channel(self.tenant_id, self.id)

    def to_json(self) -> dict[str, Any]:
        """The contract's shape (section 11)."""
        return {
            "id": self.id,
            "kind": self.kind,
            "status": self.status.value,
            "stage": self.stage,
            "progress": self.progress,
            "attempt": self.attempt,
            "maxAttempts": self.max_attempts,
            "priority": self.priority.value,
            "payload": self.payload,
            "result": self.result,
            "error": None if self.error is None else self.error.to_json(),
            "parentId": self.parent_id,
            "artifacts": [artifact.to_json() for artifact in self.artifacts],
            "createdAt": rfc3339(self.created_at),
            "startedAt": rfc3339_or_none(self.started_at),
            "finishedAt": rfc3339_or_none(self.finished_at),
        }


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One line of a job's stream (contract, section 5). ``artifact`` is what an ``artifact`` event tells of."""

    job_id: str
    type: JobEventType
    status: JobStatus
    stage: str | None
    progress: float
    attempt: int
    message: str | None
    timestamp: datetime
    artifact: Artifact | None = None

    def to_json(self) -> dict[str, Any]:
        made = {} if self.artifact is None else {"artifact": self.artifact.to_json()}
        return {
            "jobId": self.job_id,
            "type": self.type.value,
            "status": self.status.value,
            "stage": self.stage,
            "progress": self.progress,
            "attempt": self.attempt,
            "message": self.message,
            "timestamp": rfc3339(self.timestamp),
            **made,
        }


def event_of(job: Job, kind: JobEventType, at: datetime, message: str | None = None) -> JobEvent:
    """What is to be told of a job as it now stands."""
    text = message if message is not None or job.error is None else job.error.message
    return JobEvent(job.id, kind, job.status, job.stage, job.progress, job.attempt, text, at)
