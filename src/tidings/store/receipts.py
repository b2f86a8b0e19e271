"""Receipts: what one reader did with notifications, a row for each that was read or archived.

Nothing here can touch what the reader could not see: each statement selects from what is visible to them. A
statement that changed something bumps the version of what they would count.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import SelectBase, literal, or_, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.people import TenantId, UserId
from tidings.store.columns import Moment
from tidings.store.dialect import insert_into
from tidings.store.notifications import bump_user, since_joined, unmarked, ways_to_reach
from tidings.store.tables import notifications, receipts

_KEY = ("notification_id", "user_id", "tenant_id")


async def mark_read(
    tx: AsyncConnection, tenant: TenantId, user: UserId, ids: Collection[str], at: datetime
) -> tuple[str, ...]:
    """Mark as read, and return those of ``ids`` (<= 1,000) that were not before, in order."""
    chosen = select(notifications.c.id).where(
        notifications.c.id.in_(ids), or_(*ways_to_reach(tenant, user)), since_joined(tenant, user)
    )
    statement = _write(tx, tenant, user, chosen, "read_at", at).returning(receipts.c.notification_id)
    changed = sorted((await tx.execute(statement)).scalars())
    if changed:
        await bump_user(tx, tenant, user)
    return tuple(changed)


async def mark_all_read(tx: AsyncConnection, tenant: TenantId, user: UserId, at: datetime) -> int:
    """Mark as read whatever is visible, in one statement; the number of those that were not before."""
    fresh = unmarked(tenant, user, receipts.c.read_at, receipts.c.archived_at)
    # Three selections rather than one with OR: each walks its own index.
    ways = (
        select(notifications.c.id).where(way, since_joined(tenant, user), fresh)
        for way in ways_to_reach(tenant, user)
    )
    changed = (await tx.execute(_write(tx, tenant, user, union_all(*ways), "read_at", at))).rowcount
    if changed:
        await bump_user(tx, tenant, user)
    return changed


async def mark_unread(tx: AsyncConnection, tenant: TenantId, user: UserId, notification_id: str) -> bool:
    """Whether it had been read."""
    statement = (
        update(receipts)
        .where(
            receipts.c.tenant_id == tenant,
            receipts.c.user_id == user,
            receipts.c.notification_id == notification_id,
            receipts.c.read_at.is_not(None),
        )
        .values(read_at=None)
    )
    changed = (await tx.execute(statement)).rowcount == 1
    if changed:
        await bump_user(tx, tenant, user)
    return changed


async def archive(
    tx: AsyncConnection, tenant: TenantId, user: UserId, notification_id: str, at: datetime
) -> bool:
    """Take it out of the inbox; whether it was there. It can still be read by its id."""
    chosen = select(notifications.c.id).where(
        notifications.c.id == notification_id,
        or_(*ways_to_reach(tenant, user)),
        since_joined(tenant, user),
    )
    changed = (await tx.execute(_write(tx, tenant, user, chosen, "archived_at", at))).rowcount == 1
    if changed:
        await bump_user(tx, tenant, user)
    return changed


def _write(
    tx: AsyncConnection,
    tenant: TenantId,
    user: UserId,
    chosen: SelectBase,
    column: str,
    at: datetime,
) -> postgresql.Insert | sqlite.Insert:
    """Set ``column`` of the reader's receipt for each chosen notification where it is not set yet."""
    ids = chosen.subquery()
    # In the order of their ids, so that two who mark the same ones never wait for each other in a ring.
    source = select(ids.c.id, literal(user), literal(tenant), literal(at, Moment)).order_by(ids.c.id)
    statement = insert_into(tx, receipts).from_select((*_KEY, column), source)
    return statement.on_conflict_do_update(
        index_elements=_KEY,
        set_={column: statement.excluded[column]},
        where=receipts.c[column].is_(None),
    )
