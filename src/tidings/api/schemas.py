"""The shapes of what is answered (contract, section 11) as JSON Schema, with examples made by the domain itself.

What is sent in is described by its forms. Nothing here is used to check anything at run time.
"""

from dataclasses import replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from tidings.api.admin_metrics import summary
from tidings.domain.audit import Level, SecurityEvent, SecurityEventType
from tidings.domain.clock import rfc3339
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.job import Artifact, Job, JobEventType, JobPriority, JobStatus, event_of
from tidings.domain.node import NodeRole, NodeState
from tidings.domain.notification import CONTENT_MAX, TITLE_MAX, Audience, Notification, Priority, Unread
from tidings.domain.people import Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.domain.problem import problem

Schema = dict[str, Any]

_ID: Schema = {"type": "string", "format": "uuid"}
_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_MOMENT: Schema = {"type": "string", "format": "date-time", "description": "RFC 3339, UTC, milliseconds"}
_FRACTION: Schema = {"type": "number", "minimum": 0, "maximum": 1}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


def _one_of(values: type[StrEnum]) -> Schema:
    return {"type": "string", "enum": [value.value for value in values]}


def _object(*, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def _list_of(name: str) -> Schema:
    items = {"type": "array", "items": reference(name)}
    return _object(items=items, nextCursor={**_or_null(_TEXT), "description": "null at the end"})


def reference(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_ARTIFACT: Schema = _object(name=_TEXT, mediaType=_TEXT, bytes=_COUNT)
_JOB_FIELDS: Schema = _object(
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
    artifacts={"type": "array", "items": _ARTIFACT},
    createdAt=_MOMENT,
    startedAt=_or_null(_MOMENT),
    finishedAt=_or_null(_MOMENT),
)
_REPORTER_TOKEN: Schema = {**_TEXT, "description": "of a job of kind `external` alone, and only here"}

_NODE: Schema = _object(
    id={**_TEXT, "description": "as `nodeId` in the security log"},
    role=_one_of(NodeRole),
    host=_TEXT,
    pid=_COUNT,
    worker={**_COUNT, "description": "which process of one `tidings serve`, from 0"},
    version=_TEXT,
    startedAt=_MOMENT,
    draining={"type": "boolean"},
    connections={**_COUNT, "description": "sockets; streams are beside"},
    streams=_COUNT,
    jobsRunning=_COUNT,
    cpu={"type": "number", "minimum": 0, "description": "cores in use lately"},
    memoryBytes=_or_null(_COUNT),
    relayLagSeconds={
        "type": "number",
        "minimum": 0,
        "description": "age of what waits for the broker longest",
    },
)

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
    "Job": _JOB_FIELDS,
    "NewJob": {
        **_JOB_FIELDS,
        "properties": {**_JOB_FIELDS["properties"], "reporterToken": _REPORTER_TOKEN},
    },
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
        artifact={**_ARTIFACT, "description": "of an `artifact` event: what was made"},
        optional=("resumed", "artifact"),
    ),
    "InboxEvent": _object(type={"type": "string", "enum": ["ready", "new", "read", "unread"]}),
    "Ticket": _object(ticket=_TEXT, expiresAt=_MOMENT),
    "Tenant": _object(id=_ID, slug=_TEXT, name=_TEXT, status=_one_of(TenantStatus), createdAt=_MOMENT),
    "User": _object(
        id=_ID,
        tenantId=_ID,
        email=_TEXT,
        name=_or_null(_TEXT),
        role=_one_of(Role),
        active={"type": "boolean"},
        createdAt=_MOMENT,
    ),
    "SecurityEvent": _object(
        event=_one_of(SecurityEventType),
        timestamp=_MOMENT,
        level=_one_of(Level),
        requestId=_TEXT,
        nodeId=_TEXT,
        clientId=_TEXT,
        userId=_TEXT,
        tenantId=_TEXT,
        ip=_TEXT,
        origin=_TEXT,
        userAgent=_TEXT,
        reason=_TEXT,
        count={**_COUNT, "description": "how many alike it stands for, if more than one"},
        optional=("clientId", "userId", "tenantId", "ip", "origin", "userAgent", "reason", "count"),
    ),
    "SecurityEventList": _list_of("SecurityEvent"),
    "Node": _object(**_NODE["properties"], lastSeen=_MOMENT),
    "NodeList": _list_of("Node"),
    "AdminMetrics": _object(
        node=_NODE,
        connections={"type": "object", "description": "`all` of them, and by transport"},
        authentication={"type": "object", "description": "how many credentials were good"},
        deliveries={"type": "object", "description": "how many, and how long they took"},
        rateLimitViolations={"type": "object", "description": "by limit"},
        outbox={"type": "object", "description": "what slow links have not taken"},
        recoveries={"type": "object", "description": "by outcome"},
        broker={"type": "object", "description": "whether it works, and what waits for it"},
        jobs={"type": "object", "description": "how many, and how long they waited and ran"},
        securityEvents={"type": "object", "description": "by event"},
    ),
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
_NEW_JOB = replace(
    _JOB, status=JobStatus.QUEUED, stage=None, progress=0.0, attempt=0, artifacts=(), started_at=None
)
_UNREAD = Unread(3, 41)
_USER = User(_ANN, _ACME, "ann@acme.example", "Ann", Role.USER, active=True, created_at=_NOON)
_SECURITY_EVENT = SecurityEvent(
    SecurityEventType.AUTHENTICATION_FAILED, _NOON, _REQUEST, "5f0c6f0a", ip="192.0.2.7", reason="expired"
)
_NODE_STATE = NodeState(
    id="5f0c6f0a",
    role=NodeRole.SERVER,
    host="tidings-1",
    pid=4711,
    worker=0,
    version="0.1.0",
    started_at=_NOON,
    draining=False,
    connections=812,
    streams=67,
    jobs_running=3,
    cpu=0.21,
    memory_bytes=148_000_000,
    relay_lag=0.0,
)
_LISTED_NODE = {**_NODE_STATE.to_json(), "lastSeen": rfc3339(_NOON)}

EXAMPLES: dict[str, Any] = {
    "Notification": _NOTIFICATION.to_json(),
    "NotificationList": {"items": [_NOTIFICATION.to_json()], "nextCursor": None},
    "Unread": _UNREAD.to_json(),
    "Marked": {"updated": 2, "unread": _UNREAD.to_json()},
    "Job": _JOB.to_json(),
    "NewJob": _NEW_JOB.to_json(),
    "JobList": {"items": [_JOB.to_json()], "nextCursor": None},
    "JobEvent": event_of(_JOB, JobEventType.PROGRESS, _NOON, "page 4 of 10").to_json(),
    "InboxEvent": {"type": "ready", "unread": _UNREAD.to_json()},
    "Ticket": {"ticket": "rX0c3kQmJr8mY1dTtGm0uWn5m1fY3m7Tq3bq4kS0Zxw", "expiresAt": rfc3339(_NOON)},
    "Tenant": Tenant(_ACME, "acme", "Acme", TenantStatus.ACTIVE, _NOON).to_json(),
    "User": _USER.to_json(),
    "SecurityEvent": _SECURITY_EVENT.to_json(),
    "SecurityEventList": {"items": [_SECURITY_EVENT.to_json()], "nextCursor": None},
    "Node": _LISTED_NODE,
    "NodeList": {"items": [_LISTED_NODE], "nextCursor": None},
    "AdminMetrics": {"node": _NODE_STATE.to_json(), **summary([])},
    "Health": {"status": "ok"},
    "Readiness": {"status": "ok", "checks": {"database": "ok", "broker": "ok"}},
}


def problem_example(code: ErrorCode) -> dict[str, Any]:
    """What a client is answered with that code."""
    fields = (FieldError("title", "Field required"),) if code is ErrorCode.VALIDATION_FAILED else ()
    return problem(TidingsError(code, fields=fields), _REQUEST)
