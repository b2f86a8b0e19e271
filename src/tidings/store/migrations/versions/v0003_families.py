"""Jobs that wait for their children."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WAITING = sa.text("waiting_since IS NOT NULL")
BROOD = sa.text("parent_id IS NOT NULL AND status IN ('queued', 'running')")
CHILD = sa.text("child_key IS NOT NULL")


def upgrade() -> None:
    for column in (
        sa.Column("child_key", KEY, nullable=True),
        sa.Column("weight", sa.Float(), nullable=True),
        sa.Column("depth", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("waiting_since", sa.BigInteger(), nullable=True),
        sa.Column("waiting_from", sa.Float(), nullable=True),
        sa.Column("waiting_until", sa.Float(), nullable=True),
    ):
        op.add_column("jobs", column)
    _index("ix_jobs_waiting", ["id"], WAITING)
    _index("ix_jobs_brood", ["parent_id"], BROOD)
    _index("uq_jobs_child", ["parent_id", "child_key"], CHILD, unique=True)


def _index(name: str, columns: list[str], where: sa.TextClause, *, unique: bool = False) -> None:
    op.create_index(name, "jobs", columns, unique=unique, sqlite_where=where, postgresql_where=where)
