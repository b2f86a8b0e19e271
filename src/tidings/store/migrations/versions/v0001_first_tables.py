"""The first tables. Frozen: what changes later is a migration of its own, not an edit here."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.BigInteger()
JSON = sa.Text()


def upgrade() -> None:
    _people()
    _credentials()
    _notifications()
    _jobs()
    _job_indexes()
    _logs()


def _index(name: str, table: str, columns: list[str], *, where: str, unique: bool = False) -> None:
    predicate = sa.text(where)
    op.create_index(name, table, columns, unique=unique, sqlite_where=predicate, postgresql_where=predicate)


def _people() -> None:
    op.create_table(
        "tenants",
        sa.Column("id", KEY, nullable=False),
        sa.Column("slug", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("inbox_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tenants"),
        sa.UniqueConstraint("slug", name="uq_tenants_slug"),
    )
    op.create_table(
        "users",
        sa.Column("id", KEY, nullable=False),
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", KEY, nullable=False),
        sa.Column("name", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("inbox_version", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_users_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("tenant_id", "email_key", name="uq_users_tenant_id_email_key"),
    )
    op.create_index("ix_users_email", "users", ["email_key"])
    op.create_index("ix_users_tenant", "users", ["tenant_id", "id"])


def _credentials() -> None:
    op.create_table(
        "revocations",
        sa.Column("id", KEY, nullable=False),
        sa.Column("tenant_id", KEY, nullable=True),
        sa.Column("token_id", sa.Text(), nullable=True),
        sa.Column("user_id", KEY, nullable=True),
        sa.Column("issued_before", MOMENT, nullable=True),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_revocations_tenant_id"),
        sa.PrimaryKeyConstraint("id", name="pk_revocations"),
    )
    op.create_index("ix_revocations_expiry", "revocations", ["expires_at"])
    op.create_table(
        "tickets",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("claims", JSON, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("deadline", MOMENT, nullable=False),
        sa.Column("holder", KEY, nullable=True),
        sa.Column("held_until", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_tickets_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_tickets_user_id"),
        sa.PrimaryKeyConstraint("digest", name="pk_tickets"),
    )
    op.create_index("ix_tickets_deadline", "tickets", ["deadline"])
    _index("ix_tickets_holder", "tickets", ["holder"], where="holder IS NOT NULL")
    op.create_table(
        "idempotency",
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("route", KEY, nullable=False),
        sa.Column("key", KEY, nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("status", sa.SmallInteger(), nullable=False),
        sa.Column("response", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_idempotency_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_idempotency_user_id"),
        sa.PrimaryKeyConstraint("tenant_id", "user_id", "route", "key", name="pk_idempotency"),
    )
    op.create_index("ix_idempotency_expiry", "idempotency", ["expires_at"])


def _notifications() -> None:
    op.create_table(
        "counters",
        sa.Column("name", KEY, nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_counters"),
    )
    op.execute("INSERT INTO counters (name, value) VALUES ('inbox', 0)")
    op.create_table(
        "notifications",
        sa.Column("id", KEY, nullable=False),
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("audience", sa.Text(), nullable=False),
        sa.Column("user_id", KEY, nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), nullable=False),
        sa.Column("data", JSON, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("created_by", KEY, nullable=False),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_notifications_created_by"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_notifications_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_notifications_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_notifications"),
    )
    _index("ix_notifications_global", "notifications", ["id", "created_at"], where="audience = 'global'")
    _index(
        "ix_notifications_tenant",
        "notifications",
        ["tenant_id", "id", "created_at"],
        where="audience = 'tenant'",
    )
    _index(
        "ix_notifications_user",
        "notifications",
        ["tenant_id", "user_id", "id", "created_at"],
        where="user_id IS NOT NULL",
    )
    op.create_table(
        "receipts",
        sa.Column("notification_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("read_at", MOMENT, nullable=True),
        sa.Column("archived_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["notification_id"], ["notifications.id"], name="fk_receipts_notification_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_receipts_user_id"),
        sa.PrimaryKeyConstraint("notification_id", "user_id", "tenant_id", name="pk_receipts"),
        sqlite_with_rowid=False,
    )


def _jobs() -> None:
    op.create_table(
        "kinds",
        sa.Column("kind", KEY, nullable=False),
        sa.Column("schema", JSON, nullable=False),
        sa.Column("registered_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("kind", name="pk_kinds"),
    )
    op.create_table(
        "jobs",
        sa.Column("id", KEY, nullable=False),
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("user_id", KEY, nullable=False),
        sa.Column("kind", KEY, nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), nullable=True),
        sa.Column("progress", sa.Float(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("priority", sa.SmallInteger(), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("result", JSON, nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("parent_id", KEY, nullable=True),
        sa.Column("artifacts", JSON, nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.Column("run_at", MOMENT, nullable=True),
        sa.Column("timeout_seconds", sa.Integer(), nullable=True),
        sa.Column("lease_owner", KEY, nullable=True),
        sa.Column("lease_expires_at", MOMENT, nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("idempotency_key", KEY, nullable=True),
        sa.Column("reporter_token_hash", sa.Text(), nullable=True),
        sa.Column("report_sequence", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["kind"], ["kinds.kind"], name="fk_jobs_kind"),
        sa.ForeignKeyConstraint(["parent_id"], ["jobs.id"], name="fk_jobs_parent_id", ondelete="SET NULL"),
        sa.ForeignKeyConstraint(["tenant_id"], ["tenants.id"], name="fk_jobs_tenant_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_jobs_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )


def _job_indexes() -> None:
    _index("ix_jobs_lease", "jobs", ["lease_expires_at"], where="lease_expires_at IS NOT NULL")
    _index("ix_jobs_owner", "jobs", ["lease_owner"], where="lease_owner IS NOT NULL")
    _index("ix_jobs_parent", "jobs", ["parent_id"], where="parent_id IS NOT NULL")
    _index(
        "ix_jobs_queued", "jobs", ["kind", "priority", "tenant_id", "run_at", "id"], where="status = 'queued'"
    )
    _index("ix_jobs_running", "jobs", ["tenant_id"], where="lease_owner IS NOT NULL")
    _index("ix_jobs_served", "jobs", ["tenant_id", "started_at"], where="started_at IS NOT NULL")
    op.create_index("ix_jobs_user", "jobs", ["tenant_id", "user_id", "id"])
    _index(
        "uq_jobs_idempotency_key",
        "jobs",
        ["tenant_id", "user_id", "idempotency_key"],
        where="idempotency_key IS NOT NULL",
        unique=True,
    )


def _logs() -> None:
    op.create_table(
        "outbox",
        sa.Column("seq", SERIAL, autoincrement=True, nullable=False),
        sa.Column("tenant_id", KEY, nullable=False),
        sa.Column("channel_kind", sa.Text(), nullable=False),
        sa.Column("channel_name", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.Column("klass", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_outbox"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "security_events",
        sa.Column("id", KEY, nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("timestamp", MOMENT, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("node_id", sa.Text(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=True),
        sa.Column("user_id", KEY, nullable=True),
        sa.Column("tenant_id", KEY, nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_security_events"),
    )
    op.create_index("ix_security_events_event", "security_events", ["event", "id"])
    _index("ix_security_events_tenant", "security_events", ["tenant_id", "id"], where="tenant_id IS NOT NULL")
    _index("ix_security_events_user", "security_events", ["user_id", "id"], where="user_id IS NOT NULL")
