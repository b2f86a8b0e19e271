"""Revoked tokens: one by its ``jti``, or all of a user's that were issued before a moment.

A revocation is kept until every token it concerns has expired by itself. Processes hold what is live in
memory; checking a token asks nothing here.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select
from sqlalchemy import insert as insert_into
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.people import TenantId, UserId
from tidings.store.tables import revocations
from tidings.store.tenancy import crosses_tenants


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
async def insert(tx: AsyncConnection, revocation: Revocation) -> None:
    await tx.execute(
        insert_into(revocations).values(
            id=revocation.id,
            tenant_id=revocation.tenant_id,
            token_id=revocation.token_id,
            user_id=revocation.user_id,
            issued_before=revocation.issued_before,
            expires_at=revocation.expires_at,
        )
    )


@crosses_tenants("a process checks the tokens of every tenant")
async def live(tx: AsyncConnection, now: datetime) -> list[Revocation]:
    """All that still matter, the oldest first."""
    query = (
        select(
            revocations.c.id,
            revocations.c.tenant_id,
            revocations.c.token_id,
            revocations.c.user_id,
            revocations.c.issued_before,
            revocations.c.expires_at,
        )
        .where(revocations.c.expires_at > now)
        .order_by(revocations.c.id)
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
