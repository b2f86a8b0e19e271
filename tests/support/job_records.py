"""Jobs as records, for tests that need one and no database."""

from datetime import UTC, datetime
from typing import Any

from tidings.domain.job import Job, JobPriority, JobStatus
from tidings.domain.people import TenantId, UserId

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def a_job(kind: str, payload: dict[str, Any] | None = None, **values: Any) -> Job:
    """A job in its first attempt; ``values`` are what is to be otherwise."""
    fields: dict[str, Any] = {
        "id": "job",
        "tenant_id": TenantId("tenant"),
        "user_id": UserId("user"),
        "kind": kind,
        "status": JobStatus.RUNNING,
        "stage": None,
        "progress": 0.0,
        "attempt": 1,
        "max_attempts": 3,
        "priority": JobPriority.STANDARD,
        "payload": payload or {},
        "result": None,
        "error": None,
        "parent_id": None,
        "artifacts": (),
        "created_at": NOW,
        "started_at": NOW,
        "finished_at": None,
    }
    return Job(**{**fields, **values})
