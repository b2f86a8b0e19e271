"""When jobs of kinds with a rate were started."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "starts",
        sa.Column("kind", KEY, sa.ForeignKey("kinds.kind", name="fk_starts_kind"), nullable=False),
        sa.Column("job_id", KEY, nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "attempt", name="pk_starts"),
    )
    op.create_index("ix_starts_kind", "starts", ["kind", "started_at"])
