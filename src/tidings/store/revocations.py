"""Revoked tokens: one by its ``jti``, or all of a user's that were issued before a moment.

A revocation is kept until every token it concerns has expired by itself, and once: who says the same again
renews it. Processes hold what is live in memory; checking a token asks nothing here.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import TextClause, case, delete, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.people import TenantId, UserId
from tidings.store.dialect import insert_into
from tidings.store.tables import revocations
from tidings.store.tenancy import crosses_tenants

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Revocation:
    """Either ``token_id`` or ``user_id`` with ``issued_before`` is set.

    ``tenant_id`` is whose tokens it can concern; None, of a super admin's, is everyone's. ``id`` is a UUIDv7.
    """

    id: str
    tenant_id: TenantId | None
    token_id: str | None
    user_id: UserId | None
    issued_before: datetime | None
    expires_at: datetime


@crosses_tenants("what a super admin revokes may be of any tenant")
async def put(tx: AsyncConnection, revocation: Revocation) -> None:
    """Add it, or renew the one that says the same: under the new id, so that processes see it, and until the
    later of both expiries. Of two moments for one user the later one stands.
    """
    same, where = _same(revocation)
    statement = insert_into(tx, revocations).values(
        id=revocation.id,
        tenant_id=revocation.tenant_id,
        token_id=revocation.token_id,
        user_id=revocation.user_id,
        issued_before=revocation.issued_before,
        expires_at=revocation.expires_at,
    )
    new, old = statement.excluded, revocations.c
    renewed = {
        "id": new.id,
        "tenant_id": new.tenant_id,
        "issued_before": case(
            (old.issued_before > new.issued_before, old.issued_before), else_=new.issued_before
        ),
        "expires_at": case((old.expires_at > new.expires_at, old.expires_at), else_=new.expires_at),
    }
    await tx.execute(statement.on_conflict_do_update(index_elements=same, index_where=where, set_=renewed))


async def count_tokens(tx: AsyncConnection, tenant: TenantId, *, but: str) -> int:
    """How many single tokens other than this one a tenant has revoked."""
    others = (revocations.c.tenant_id == tenant, revocations.c.token_id != but)
    return (await tx.execute(select(func.count()).where(*others))).scalar_one()


@crosses_tenants("a process checks the tokens of every tenant")
async def live(tx: AsyncConnection, now: datetime, *, after: str = "", limit: int = PAGE) -> list[Revocation]:
    """At most ``limit`` that still matter, by their ids, from the first one that comes after that."""
    query = (
        select(
            revocations.c.id,
            revocations.c.tenant_id,
            revocations.c.token_id,
            revocations.c.user_id,
            revocations.c.issued_before,
            revocations.c.expires_at,
        )
        .where(revocations.c.id > after, revocations.c.expires_at > now)
        .order_by(revocations.c.id)
        .limit(limit)
    )
    return [Revocation(*row) for row in await tx.execute(query)]


@crosses_tenants("what every token has outlived is nobody's")
async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Delete at most ``limit`` that have expired."""
    old = (
        select(revocations.c.id)
        .where(revocations.c.expires_at <= now)
        .order_by(revocations.c.expires_at)
        .limit(limit)
    )
    return (await tx.execute(delete(revocations).where(revocations.c.id.in_(old)))).rowcount


def _same(revocation: Revocation) -> tuple[list[str], TextClause]:
    """The columns and the condition of the unique index that keeps it one."""
    if revocation.user_id is not None:
        return ["user_id"], text("user_id IS NOT NULL")
    if revocation.tenant_id is not None:
        return ["tenant_id", "token_id"], text("tenant_id IS NOT NULL AND token_id IS NOT NULL")
    return ["token_id"], text("tenant_id IS NULL AND token_id IS NOT NULL")
