"""First answers, kept by idempotency key, so that a repeated request is answered and not executed again.

The answer is remembered in the transaction that made it true: of two requests with one key at the same time
the second waits for the first's commit, is told so, and rolls back what it did itself.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.people import TenantId, UserId
from tidings.store.dialect import insert_into
from tidings.store.tables import idempotency
from tidings.store.tenancy import crosses_tenants

_KEY = ("tenant_id", "user_id", "route", "key")


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered, and the hash of the body it was the answer to."""

    body_hash: str
    status: int
    response: bytes
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose key it is and on which route: "Idempotency keys are scoped to user and route"."""

    tenant: TenantId
    user: UserId
    route: str
    key: str


async def find(tx: AsyncConnection, scope: Scope, now: datetime) -> Answer | None:
    """The first answer, unless it has expired."""
    query = select(
        idempotency.c.body_hash, idempotency.c.status, idempotency.c.response, idempotency.c.expires_at
    ).where(
        idempotency.c.tenant_id == scope.tenant,
        idempotency.c.user_id == scope.user,
        idempotency.c.route == scope.route,
        idempotency.c.key == scope.key,
        idempotency.c.expires_at > now,
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else Answer(*row)


async def remember(tx: AsyncConnection, scope: Scope, answer: Answer, now: datetime) -> bool:
    """Keep the answer; False if there is one already, of which ``find`` tells after this transaction."""
    values = {
        "body_hash": answer.body_hash,
        "status": answer.status,
        "response": answer.response,
        "expires_at": answer.expires_at,
    }
    statement = insert_into(tx, idempotency).values(
        tenant_id=scope.tenant, user_id=scope.user, route=scope.route, key=scope.key, **values
    )
    statement = statement.on_conflict_do_update(
        index_elements=_KEY, set_=values, where=idempotency.c.expires_at <= now
    )
    return (await tx.execute(statement)).rowcount == 1


@crosses_tenants("what has expired is nobody's")
async def purge(tx: AsyncConnection, now: datetime, limit: int) -> int:
    """Delete at most ``limit`` answers that have expired."""
    key = tuple_(*(idempotency.c[name] for name in _KEY))
    old = (
        select(*(idempotency.c[name] for name in _KEY))
        .where(idempotency.c.expires_at <= now)
        .order_by(idempotency.c.expires_at)
        .limit(limit)
    )
    return (await tx.execute(delete(idempotency).where(key.in_(old)))).rowcount
