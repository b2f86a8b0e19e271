"""Jobs without idempotency keys: those of all creating requests have a table of their own."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("uq_jobs_idempotency_key", "jobs")
    op.drop_column("jobs", "idempotency_key")
