"""The shapes of what is answered (contract, section 11) as JSON Schema, with examples made by the domain itself.

What is sent in is described by its forms. Nothing here is used to check anything at run time.
"""

from datetime import UTC, datetime
from typing import Any

from tidings.domain.clock import rfc3339
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.job import Artifact, Job, JobEventType, JobPriority, JobStatus, event_of
from tidings.domain.notification import CONTENT_MAX, TITLE_MAX, Audience, Notification, Priority, Unread
from tidings.domain.people import TenantId, UserId
from tidings.domain.problem import problem

Schema = dict[str, Any]

_ID: Schema = {"type": "string", "format": "uuid"}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MOMENT: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, milliseconds"}
_FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _one_of(values: type[Audience | Priority | JobStatus | JobPriority | JobEventType]) -> Schema:
    return {"type": "string", "enum": [value.value for value in values]}


def _object(*, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _list_of(name: str) -> Schema:
    items = {"type": "array", "items": reference(name)}
    return _object(items=items, nextCursor={**_or_null(_TEXT), "description": "null at the end"})


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


SCHEMAS: dict[str, Schema] = {
    "Notification": _object(
        id=_ID,
        tenantId=_ID,
        audience=_one_of(Audience),
        userId=_or_null(_ID),
        title={**_TEXT, "maxLength": TITLE_MAX},
        content={**_TEXT, "maxLength": CONTENT_MAX},
        priority=_one_of(Priority),
        data={"type": ["object", "null"]},
        createdAt=_MOMENT,
        createdBy=_ID,
        readAt=_or_null(_MOMENT),
        archivedAt=_or_null(_MOMENT),
    ),
    "NotificationList": _list_of("Notification"),
    "Unread": _object(
        count=_COUNT,
        version={**_COUNT, "description": "of two answers the one with the higher version is the newer"},
    ),
    "Marked": _object(updated=_COUNT, unread=reference("Unread")),
    "Job": _object(
        id=_ID,
        kind=_TEXT,
        status=_one_of(JobStatus),
        stage=_or_null(_TEXT),
        progress=_FRACTION,
        attempt={**_COUNT, "description": "0 until the first start"},
        maxAttempts=_COUNT,
        priority=_one_of(JobPriority),
        payload={"type": "object"},
        result={"description": "what the job returned; null until then"},
        error={"type": ["object", "null"], "properties": {"code": _TEXT, "message": _TEXT}},
        parentId=_or_null(_ID),
        artifacts={"type": "array", "items": _object(name=_TEXT, mediaType=_TEXT, bytes=_COUNT)},
        createdAt=_MOMENT,
        startedAt=_or_null(_MOMENT),
        finishedAt=_or_null(_MOMENT),
    ),
    "JobList": _list_of("Job"),
    "JobEvent": _object(
        jobId=_ID,
        type=_one_of(JobEventType),
        status=_one_of(JobStatus),
        stage=_or_null(_TEXT),
        progress=_FRACTION,
        attempt=_COUNT,
        message=_or_null(_TEXT),
        timestamp=_MOMENT,
        resumed={"type": "boolean", "description": "false where a Last-Event-ID could not be resumed"},
        optional=("resumed",),
    ),
    "InboxEvent": _object(type={"type": "string", "enum": ["ready", "new", "read", "unread"]}),
    "Ticket": _object(ticket=_TEXT, expiresAt=_MOMENT),
    "Health": _object(status=_TEXT),
    "Readiness": _object(
        status={"type": "string", "enum": ["ok", "unavailable", "draining"]},
        checks={"type": "object", "additionalProperties": {"type": "string", "enum": ["ok", "failing"]}},
    ),
    "Problem": _object(
        type=_TEXT,
        title=_TEXT,
        status={"type": "integer"},
        code={"type": "string", "enum": [code.name for code in ErrorCode]},
        requestId=_ID,
        detail=_TEXT,
        errors={"type": "array", "items": _object(field=_TEXT, message=_TEXT)},
        optional=("detail", "errors"),
    ),
}

_NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
_ANN = UserId("019c13f2-3e80-7a41-8d2b-5f0c6f0a1b2c")
_ACME = TenantId("019c13f2-3e80-7b52-9e3c-604d70ab2c3d")
_REQUEST = "019c13f2-3e80-7c63-af4d-715e81bc3d4e"

_NOTIFICATION = Notification(
    id="019c13f2-3e80-7d74-805e-826f92cd4e5f",
    tenant_id=_ACME,
    audience=Audience.USER,
    user_id=_ANN,
    title="Your report is ready",
    content="The report for January can be downloaded now.",
    priority=Priority.MEDIUM,
    data={"reportId": 17},
    created_at=_NOON,
    created_by=_ANN,
)
_JOB = Job(
    id="019c13f2-3e80-7e85-916f-937fa3de5f60",
    tenant_id=_ACME,
    user_id=_ANN,
    kind="report.build",
    status=JobStatus.RUNNING,
    stage="rendering",
    progress=0.4,
    attempt=1,
    max_attempts=3,
    priority=JobPriority.STANDARD,
    payload={"month": "2026-01"},
    result=None,
    error=None,
    parent_id=None,
    artifacts=(Artifact("draft.pdf", "application/pdf", 48_213),),
    created_at=_NOON,
    started_at=_NOON,
    finished_at=None,
)
_UNREAD = Unread(3, 41)

EXAMPLES: dict[str, Any] = {
    "Notification": _NOTIFICATION.to_json(),
    "NotificationList": {"items": [_NOTIFICATION.to_json()], "nextCursor": None},
    "Unread": _UNREAD.to_json(),
    "Marked": {"updated": 2, "unread": _UNREAD.to_json()},
    "Job": _JOB.to_json(),
    "JobList": {"items": [_JOB.to_json()], "nextCursor": None},
    "JobEvent": event_of(_JOB, JobEventType.PROGRESS, _NOON, "page 4 of 10").to_json(),
    "InboxEvent": {"type": "ready", "unread": _UNREAD.to_json()},
    "Ticket": {"ticket": "rX0c3kQmJr8mY1dTtGm0uWn5m1fY3m7Tq3bq4kS0Zxw", "expiresAt": rfc3339(_NOON)},
    "Health": {"status": "ok"},
    "Readiness": {"status": "ok", "checks": {"database": "ok", "broker": "ok"}},
}


def problem_example(code: ErrorCode) -> dict[str, Any]:
    """What a client is answered with that code."""
    fields = (FieldError("title", "Field required"),) if code is ErrorCode.VALIDATION_FAILED else ()
    return problem(TidingsError(code, fields=fields), _REQUEST)
