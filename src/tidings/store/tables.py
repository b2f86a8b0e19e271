"""Every table, its keys and its indexes. What an index is for stands beside it.

No behaviour here: queries live in the noun's own file, and how a database comes to have these tables in
``migrations/``. Predicates of partial indexes are plain SQL, because a query meets them word by word.
"""

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from tidings.store.columns import Json, Key, Moment, Rank, Serial

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    }
)


def _some(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that meet ``where``."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


tenants: Final = Table(
    "tenants",
    metadata,
    Column("id", Key, primary_key=True),
    Column("slug", Key, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("inbox_version", BigInteger, nullable=False, server_default="0"),
)

users: Final = Table(
    "users",
    metadata,
    Column("id", Key, primary_key=True),
    Column("tenant_id", Key, ForeignKey("tenants.id"), nullable=False),
    Column("email", Text, nullable=False),
    # The address without its case, by which a user is found and is unique.
    Column("email_key", Key, nullable=False),
    Column("name", Text),
    Column("role", Text, nullable=False),
    Column("active", Boolean, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("inbox_version", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("tenant_id", "email_key"),
    # A tenant's users, page by page.
    Index("ix_users_tenant", "tenant_id", "id"),
    # The command line knows an address and no tenant.
    Index("ix_users_email", "email_key"),
)

counters: Final = Table(
    "counters",
    metadata,
    Column("name", Key, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
GLOBAL_INBOX: Final = "inbox"
"""The counter that grows with each notification to everyone. The first migration writes its row."""

notifications: Final = Table(
    "notifications",
    metadata,
    Column("id", Key, primary_key=True),
    Column("tenant_id", Key, ForeignKey("tenants.id"), nullable=False),
    Column("audience", Text, nullable=False),
    Column("user_id", Key, ForeignKey("users.id")),
    Column("title", Text, nullable=False),
    Column("content", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("data", Json),
    Column("created_at", Moment, nullable=False),
    Column("created_by", Key, ForeignKey("users.id"), nullable=False),
    # One for each way to be addressed; an inbox is read from all three, newest first.
    _some("ix_notifications_user", "tenant_id", "user_id", "id", "created_at", where="user_id IS NOT NULL"),
    _some("ix_notifications_tenant", "tenant_id", "id", "created_at", where="audience = 'tenant'"),
    _some("ix_notifications_global", "id", "created_at", where="audience = 'global'"),
)

receipts: Final = Table(
    "receipts",
    metadata,
    # First in the key: a reader's receipts are looked up one by one as an index of notifications is walked,
    # and a notification that is deleted takes its receipts along.
    Column("notification_id", Key, ForeignKey("notifications.id", ondelete="CASCADE"), primary_key=True),
    Column("user_id", Key, ForeignKey("users.id"), primary_key=True),
    Column("tenant_id", Key, primary_key=True),
    Column("read_at", Moment),
    Column("archived_at", Moment),
    sqlite_with_rowid=False,
)

kinds: Final = Table(
    "kinds",
    metadata,
    Column("kind", Key, primary_key=True),
    Column("schema", Json, nullable=False),
    Column("registered_at", Moment, nullable=False),
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Key, primary_key=True),
    Column("tenant_id", Key, ForeignKey("tenants.id"), nullable=False),
    Column("user_id", Key, ForeignKey("users.id"), nullable=False),
    Column("kind", Key, ForeignKey("kinds.kind"), nullable=False),
    Column("status", Text, nullable=False),
    Column("stage", Text),
    Column("progress", Float, nullable=False),
    Column("message", Text),
    Column("attempt", Integer, nullable=False),
    Column("max_attempts", Integer, nullable=False),
    Column("priority", Rank, nullable=False),
    Column("payload", Json, nullable=False),
    Column("result", Json),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("parent_id", Key, ForeignKey("jobs.id", ondelete="SET NULL")),
    Column("artifacts", Json, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    # When it may start. None: never by us, the job runs in somebody else's queue.
    Column("run_at", Moment),
    Column("timeout_seconds", Integer),
    # The worker that holds it, and until when; a job of somebody else's queue has a deadline alone.
    Column("lease_owner", Key),
    Column("lease_expires_at", Moment),
    Column("cancel_requested", Boolean, nullable=False),
    Column("reporter_token_hash", Text),
    Column("report_sequence", BigInteger),
    # A child's place among its parent's, by which the parent finds it again, and its part of their progress.
    Column("child_key", Key),
    Column("weight", Float),
    Column("depth", SmallInteger, nullable=False, server_default="0"),
    # Since when it waits for its children, its progress then, and where it will be when they are over. Kept
    # while it goes on, as a sign that this is no new attempt.
    Column("waiting_since", Moment),
    Column("waiting_from", Float),
    Column("waiting_until", Float),
    # A user's jobs, newest first.
    Index("ix_jobs_user", "tenant_id", "user_id", "id"),
    # The queue: the lines a worker may serve, each in the order of its turn.
    _some("ix_jobs_queued", "kind", "priority", "tenant_id", "run_at", "id", where="status = 'queued'"),
    # How many a tenant has running, and when it was served last.
    _some("ix_jobs_running", "tenant_id", where="lease_owner IS NOT NULL"),
    _some("ix_jobs_served", "tenant_id", "started_at", where="started_at IS NOT NULL"),
    # What a worker holds, and what it has held for too long.
    _some("ix_jobs_owner", "lease_owner", where="lease_owner IS NOT NULL"),
    _some("ix_jobs_lease", "lease_expires_at", where="lease_expires_at IS NOT NULL"),
    _some("ix_jobs_parent", "parent_id", where="parent_id IS NOT NULL"),
    # Who waits; the children that are not over; and that a parent has each of its children once.
    _some("ix_jobs_waiting", "id", where="waiting_since IS NOT NULL"),
    _some("ix_jobs_brood", "parent_id", where="parent_id IS NOT NULL AND status IN ('queued', 'running')"),
    _some("uq_jobs_child", "parent_id", "child_key", where="child_key IS NOT NULL", unique=True),
)

outbox: Final = Table(
    "outbox",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    # No foreign key: what everyone is told belongs to the tenant ``global``, which is nobody's.
    Column("tenant_id", Key, nullable=False),
    Column("channel_kind", Text, nullable=False),
    Column("channel_name", Text, nullable=False),
    Column("event", Text, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Column("klass", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    # A number is never handed out twice, though the table is mostly empty.
    sqlite_autoincrement=True,
)

security_events: Final = Table(
    "security_events",
    metadata,
    Column("id", Key, primary_key=True),
    Column("event", Text, nullable=False),
    Column("timestamp", Moment, nullable=False),
    Column("request_id", Text, nullable=False),
    Column("node_id", Text, nullable=False),
    Column("client_id", Text),
    # No foreign keys: a claim is written down as it was made, true or not.
    Column("user_id", Key),
    Column("tenant_id", Key),
    Column("ip", Text),
    Column("origin", Text),
    Column("user_agent", Text),
    Column("reason", Text),
    Column("count", Integer, nullable=False),
    # The log is read a page at a time, the newest first: a tenant's, of one kind, a user's, or all of a kind.
    _some("ix_security_events_tenant", "tenant_id", "id", where="tenant_id IS NOT NULL"),
    _some("ix_security_events_tenant_event", "tenant_id", "event", "id", where="tenant_id IS NOT NULL"),
    _some("ix_security_events_user", "user_id", "id", where="user_id IS NOT NULL"),
    Index("ix_security_events_event", "event", "id"),
)

idempotency: Final = Table(
    "idempotency",
    metadata,
    Column("tenant_id", Key, ForeignKey("tenants.id"), primary_key=True),
    Column("user_id", Key, ForeignKey("users.id"), primary_key=True),
    Column("route", Key, primary_key=True),
    Column("key", Key, primary_key=True),
    Column("body_hash", Text, nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("response", LargeBinary, nullable=False),
    Column("expires_at", Moment, nullable=False),
    Index("ix_idempotency_expiry", "expires_at"),
)

tickets: Final = Table(
    "tickets",
    metadata,
    # The ticket itself is nowhere; this is what it hashes to.
    Column("digest", LargeBinary, primary_key=True),
    Column("tenant_id", Key, ForeignKey("tenants.id"), nullable=False),
    Column("user_id", Key, ForeignKey("users.id"), nullable=False),
    Column("path", Text, nullable=False),
    Column("origin", Text),
    Column("claims", Json, nullable=False),
    Column("expires_at", Moment, nullable=False),
    # The last moment to open it; while a node holds it, that is some time after the hold would lapse.
    Column("deadline", Moment, nullable=False),
    Column("holder", Key),
    Column("held_until", Moment),
    _some("ix_tickets_holder", "holder", where="holder IS NOT NULL"),
    Index("ix_tickets_deadline", "deadline"),
)

revocations: Final = Table(
    "revocations",
    metadata,
    Column("id", Key, primary_key=True),
    # None: a super admin's, good for every tenant.
    Column("tenant_id", Key, ForeignKey("tenants.id")),
    Column("token_id", Text),
    # No foreign key: a token may be revoked before its user was ever seen.
    Column("user_id", Key),
    Column("issued_before", Moment),
    Column("expires_at", Moment, nullable=False),
    Index("ix_revocations_expiry", "expires_at"),
    _some(
        "uq_revocations_tenant_token",
        "tenant_id",
        "token_id",
        where="tenant_id IS NOT NULL AND token_id IS NOT NULL",
        unique=True,
    ),
    _some(
        "uq_revocations_token", "token_id", where="tenant_id IS NULL AND token_id IS NOT NULL", unique=True
    ),
    _some("uq_revocations_user", "user_id", where="user_id IS NOT NULL", unique=True),
)

orders: Final = Table(
    "orders",
    metadata,
    Column("seq", Serial, primary_key=True, autoincrement=True),
    Column("kind", Text, nullable=False),
    # No foreign keys: an order is carried out, whoever is gone meanwhile.
    Column("tenant_id", Key),
    Column("user_id", Key),
    Column("node_id", Key),
    Column("created_at", Moment, nullable=False),
    # Old ones are deleted.
    Index("ix_orders_created", "created_at"),
    # A number is never handed out twice, though the table is mostly empty.
    sqlite_autoincrement=True,
)

starts: Final = Table(
    "starts",
    metadata,
    # Of kinds that have a rate; for as long as they count.
    Column("kind", Key, ForeignKey("kinds.kind"), nullable=False),
    # No foreign key: a start counts, whatever has become of its job.
    Column("job_id", Key, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("started_at", Moment, nullable=False),
    Index("ix_starts_kind", "kind", "started_at"),
)
