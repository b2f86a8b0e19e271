"""Every operation of the REST surface, as the documentation tells of it. How they work is in the files beside."""

from tidings.api import admin_catalogue
from tidings.api.forms import ListJobs
from tidings.api.operation import Operation, Success
from tidings.delivery.forms import (
    CreateJob,
    CreateNotification,
    CreateTicket,
    ListNotifications,
    ReportJob,
)
from tidings.domain.errors import ErrorCode

NOTIFICATIONS, JOBS, STREAMS, TICKETS, OPERATION = (
    "Notifications",
    "Jobs",
    "Streams",
    "Tickets",
    "Operations",
)

TAGS = {
    NOTIFICATIONS: "A user's inbox. A notification is addressed to a user, to a tenant or to everyone; what a "
    "reader did with it is the reader's own.",
    JOBS: "Work that is handed in and watched. A job belongs to the user who made it and to nobody else.",
    STREAMS: "Server-sent events. Each event has an `id`; a reconnect with `Last-Event-ID` resumes behind it, "
    "nothing missed and nothing twice.",
    TICKETS: "For browsers, whose `EventSource` cannot send headers.",
    admin_catalogue.TAG: admin_catalogue.ABOUT,
    OPERATION: "For whoever runs the server.",
}

_NOTIFICATION = Success(200, "The notification as it stands now", "Notification")
_ONE = (ErrorCode.NOT_FOUND,)

CREATE_NOTIFICATION = Operation(
    "createNotification",
    "POST",
    "/notifications",
    NOTIFICATIONS,
    "Notify somebody",
    (Success(201, "The notification, stored and on its way", "Notification", located=True),),
    "Without `userId`, `audience` and `tenantId` it is a note to oneself. An `ADMIN` may notify the users of "
    "the own tenant or all of it, a `SUPER_ADMIN` anyone, any tenant, everyone. The title has 1 to 200 "
    "characters, the content 1 to 1,000, `data` at most 8 KiB of compact JSON.",
    body=CreateNotification,
    example={
        "title": "Your report is ready",
        "content": "The report for January can be downloaded now.",
        "data": {"reportId": 17},
    },
    errors=(ErrorCode.NOT_FOUND,),
    creates=True,
)
LIST_NOTIFICATIONS = Operation(
    "listNotifications",
    "GET",
    "/notifications",
    NOTIFICATIONS,
    "Read the inbox",
    (Success(200, "A page, the newest first; archived ones are left out", "NotificationList"),),
    query=ListNotifications,
)
COUNT_UNREAD = Operation(
    "getUnread",
    "GET",
    "/notifications/unread",
    NOTIFICATIONS,
    "Count what is unread",
    (Success(200, "The count", "Unread"),),
)
READ_ALL = Operation(
    "markAllRead",
    "POST",
    "/notifications/read-all",
    NOTIFICATIONS,
    "Mark everything as read",
    (Success(200, "How many were not read before, and what is unread now", "Marked"),),
    "All the user's connections are told.",
)
GET_NOTIFICATION = Operation(
    "getNotification",
    "GET",
    "/notifications/{id}",
    NOTIFICATIONS,
    "Read one",
    (_NOTIFICATION,),
    "One of the user's own inbox. Who sent it to somebody else does not see it here.",
    errors=_ONE,
)
MARK_READ = Operation(
    "markRead",
    "POST",
    "/notifications/{id}/read",
    NOTIFICATIONS,
    "Mark one as read",
    (_NOTIFICATION,),
    errors=_ONE,
)
MARK_UNREAD = Operation(
    "markUnread",
    "POST",
    "/notifications/{id}/unread",
    NOTIFICATIONS,
    "Mark one as unread",
    (_NOTIFICATION,),
    errors=_ONE,
)
ARCHIVE = Operation(
    "archiveNotification",
    "POST",
    "/notifications/{id}/archive",
    NOTIFICATIONS,
    "Take one out of the inbox",
    (_NOTIFICATION,),
    errors=_ONE,
)

CREATE_JOB = Operation(
    "createJob",
    "POST",
    "/jobs",
    JOBS,
    "Hand a job in",
    (Success(202, "The job, queued", "NewJob", located=True),),
    "What the payload holds is a matter of the kind. The job is accepted for good: it runs even if the server "
    "that took it is killed, and its stream always comes to an end. With `delaySeconds` (at most 30 days) it is "
    "not begun before that time is over.\n\n"
    "`external` is the kind of jobs that run in somebody else's queue: their payload is `{name?, "
    "timeoutSeconds?}`, and the answer holds a `reporterToken`, this once, with which whoever runs the job "
    "reports on it. A job that is silent for `timeoutSeconds` (3,600 if left out, 86,400 at most) has failed.",
    body=CreateJob,
    example={"kind": "report.build", "payload": {"month": "2026-01"}},
    errors=(ErrorCode.UNKNOWN_KIND,),
    creates=True,
)
LIST_JOBS = Operation(
    "listJobs",
    "GET",
    "/jobs",
    JOBS,
    "List one's jobs",
    (Success(200, "A page, the newest first", "JobList"),),
    text="`parentId` gives the children of one job, each of which is a job of its own.",
    query=ListJobs,
)
GET_JOB = Operation(
    "getJob", "GET", "/jobs/{id}", JOBS, "Look at a job", (Success(200, "The job", "Job"),), errors=_ONE
)
CANCEL_JOB = Operation(
    "cancelJob",
    "POST",
    "/jobs/{id}/cancel",
    JOBS,
    "Cancel a job",
    (Success(202, "The job; running code hears of it at its next progress report", "Job"),),
    errors=(ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
)
RETRY_JOB = Operation(
    "retryJob",
    "POST",
    "/jobs/{id}/retry",
    JOBS,
    "Run a failed or cancelled job again",
    (Success(202, "The job, queued again under its own id", "Job"),),
    "It goes on counting its attempts and is granted the attempts of its kind once more.",
    errors=(ErrorCode.NOT_FOUND, ErrorCode.CONFLICT),
)

GET_ARTIFACT = Operation(
    "getArtifact",
    "GET",
    "/jobs/{id}/artifacts/{name}",
    JOBS,
    "Download an artifact",
    (
        Success(200, "The file, for saving", media_type="application/octet-stream"),
        Success(206, "The range of it that was asked for", media_type="application/octet-stream"),
        Success(304, "It is what `If-None-Match` names"),
        Success(307, "It is at `Location`, for some minutes"),
    ),
    "The media type is the artifact's own. `ETag` is that of the bytes; `Range` (one range of bytes), `If-Range` "
    "and `If-None-Match` are understood. Where artifacts are kept in a bucket, the answer may be a redirect to it.",
    errors=(ErrorCode.NOT_FOUND, ErrorCode.RANGE_NOT_SATISFIABLE),
)

REPORT_JOB = Operation(
    "reportJob",
    "POST",
    "/jobs/{id}/events",
    JOBS,
    "Report on an external job",
    (Success(204, "It is written down and told of, or was before"),),
    "For whoever runs the job, with the job's `reporterToken`. The first report starts the job; `heartbeat` "
    "says that it is alive and nothing else; `completed` may bring a `result`, `failed` an `error`. Each report "
    "has a higher `sequence` than the one before; one that does not is taken for a repetition, is answered "
    "alike and does nothing. What is new after the job's end is a conflict. A job may be reported on 600 times "
    "a minute, unless the operator set another limit.",
    body=ReportJob,
    example={"sequence": 3, "type": "progress", "progress": 0.5, "stage": "mix", "message": "half of it"},
    errors=(ErrorCode.CONFLICT,),
    reporter=True,
)

_STREAM_ENDS = " A comment is sent every 15 s; a stream without an event for 5 minutes is closed. A user may have 100 open."
JOB_EVENTS = Operation(
    "watchJob",
    "GET",
    "/jobs/{id}/events",
    STREAMS,
    "Watch a job",
    (
        Success(
            200, "Events without end, or until the job has one", "JobEvent", media_type="text/event-stream"
        ),
        Success(204, "`Last-Event-ID` was the job's end: do not reconnect"),
    ),
    "First how the job stands, then each event as it happens. After the terminal event (`completed`, `failed`, "
    "`cancelled`) the stream ends." + _STREAM_ENDS,
    errors=(ErrorCode.NOT_FOUND, ErrorCode.TOO_MANY_CONNECTIONS),
    ticket=True,
)
INBOX_EVENTS = Operation(
    "watchInbox",
    "GET",
    "/notifications/events",
    STREAMS,
    "Watch the inbox",
    (Success(200, "Events without end", "InboxEvent", media_type="text/event-stream"),),
    "First `ready` with the unread count, then `new` with a notification, `read` and `unread` as they happen."
    + _STREAM_ENDS,
    errors=(ErrorCode.TOO_MANY_CONNECTIONS,),
    ticket=True,
)

CREATE_TICKET = Operation(
    "createTicket",
    "POST",
    "/tickets",
    TICKETS,
    "Get a ticket for a stream",
    (Success(201, "The ticket, and until when it may first be used", "Ticket"),),
    "It opens that one path, for this user and for pages of the same origin, as `?ticket=`: within 30 s, and "
    "again within 60 s of its last close, one stream at a time.",
    body=CreateTicket,
    example={"for": "/jobs/019c13f2-3e80-7e85-916f-937fa3de5f60/events"},
    errors=(ErrorCode.NOT_FOUND,),
    creates=True,
)

HEALTH = Operation(
    "getHealth",
    "GET",
    "/healthz",
    OPERATION,
    "Is the process alive?",
    (Success(200, "It is", "Health"),),
    public=True,
)
READINESS = Operation(
    "getReadiness",
    "GET",
    "/readyz",
    OPERATION,
    "Can it serve?",
    (
        Success(200, "It can", "Readiness"),
        Success(
            503,
            "Not now",
            "Readiness",
            {"status": "unavailable", "checks": {"database": "failing", "broker": "ok"}},
        ),
    ),
    public=True,
)
METRICS = Operation(
    "getMetrics",
    "GET",
    "/metrics",
    OPERATION,
    "Metrics for Prometheus",
    (Success(200, "The text format", media_type="text/plain"),),
    "In production it takes the metrics token as `Authorization: Bearer`; without it there is nothing here.",
    errors=_ONE,
    public=True,
)

ALL = (
    CREATE_NOTIFICATION,
    LIST_NOTIFICATIONS,
    COUNT_UNREAD,
    READ_ALL,
    GET_NOTIFICATION,
    MARK_READ,
    MARK_UNREAD,
    ARCHIVE,
    CREATE_JOB,
    LIST_JOBS,
    GET_JOB,
    CANCEL_JOB,
    RETRY_JOB,
    GET_ARTIFACT,
    REPORT_JOB,
    JOB_EVENTS,
    INBOX_EVENTS,
    CREATE_TICKET,
    *admin_catalogue.ALL,
    HEALTH,
    READINESS,
    METRICS,
)
