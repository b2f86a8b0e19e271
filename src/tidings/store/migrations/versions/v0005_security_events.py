"""A tenant's security events of one kind, by an index of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    some = sa.text("tenant_id IS NOT NULL")
    op.create_index(
        "ix_security_events_tenant_event",
        "security_events",
        ["tenant_id", "event", "id"],
        sqlite_where=some,
        postgresql_where=some,
    )
