"""Each revocation is there once: of those that say the same, the one that says most is kept."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        "DELETE FROM revocations WHERE token_id IS NOT NULL AND EXISTS ("
        "SELECT 1 FROM revocations AS later WHERE later.token_id = revocations.token_id"
        " AND COALESCE(later.tenant_id, '') = COALESCE(revocations.tenant_id, '') AND later.id > revocations.id)"
    )
    op.execute(
        "DELETE FROM revocations WHERE user_id IS NOT NULL AND EXISTS ("
        "SELECT 1 FROM revocations AS later WHERE later.user_id = revocations.user_id AND "
        "(later.issued_before > revocations.issued_before"
        " OR (later.issued_before = revocations.issued_before AND later.id > revocations.id)))"
    )
    _unique("tenant_token", ["tenant_id", "token_id"], "tenant_id IS NOT NULL AND token_id IS NOT NULL")
    _unique("token", ["token_id"], "tenant_id IS NULL AND token_id IS NOT NULL")
    _unique("user", ["user_id"], "user_id IS NOT NULL")


def _unique(name: str, columns: list[str], where: str) -> None:
    op.create_index(
        f"uq_revocations_{name}",
        "revocations",
        columns,
        unique=True,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )
