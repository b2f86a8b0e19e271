"""Notifications: writing one, reading an inbox, counting what is unread.

A reader sees what is addressed to them, to their tenant and to everyone, from the moment they came to be.
Each of the three is an index of its own, so a page costs its own length whatever the age of the inbox. What a
reader did with a notification is in ``receipts``.

What a reader would count has a version: the sum of three counters, the user's, the tenant's and everyone's.
Each change bumps the one counter it concerns, never a row per recipient. The bump also holds that row until
the transaction ends, so what is appended to the outbox after it stands there in the order of the commits.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import Any, TypeAlias

from sqlalchemy import (
    ColumnElement,
    Integer,
    ScalarSelect,
    Select,
    and_,
    bindparam,
    delete,
    func,
    literal_column,
    or_,
    select,
    union_all,
    update,
)
from sqlalchemy import insert as insert_into
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.notification import Audience, Notification, Priority, Unread
from tidings.domain.people import TenantId, UserId
from tidings.store.columns import Key
from tidings.store.dialect import listed
from tidings.store.paging import Page, first_id_at, page_of, read_cursor
from tidings.store.stroke import Statements
from tidings.store.tables import GLOBAL_INBOX, counters, notifications, receipts, tenants, users
from tidings.store.tenancy import crosses_tenants

_COLUMNS = (
    notifications.c.id,
    notifications.c.tenant_id,
    notifications.c.audience,
    notifications.c.user_id,
    notifications.c.title,
    notifications.c.content,
    notifications.c.priority,
    notifications.c.data,
    notifications.c.created_at,
    notifications.c.created_by,
    receipts.c.read_at,
    receipts.c.archived_at,
)

# In a statement that is kept, the reader is a column or a parameter.
_Tenant: TypeAlias = TenantId | ColumnElement[str]
_User: TypeAlias = UserId | ColumnElement[str]

# Spelled out, not bound: the planner has to see that the partial index applies.
_TO_TENANT = notifications.c.audience == literal_column("'tenant'")
_TO_EVERYONE = notifications.c.audience == literal_column("'global'")


# Statements are composed once, here and below: that takes longer than running one.
_INSERT = insert_into(notifications)
_BUMP_USER = (
    update(users)
    .where(users.c.id == bindparam("user"), users.c.tenant_id == bindparam("tenant"))
    .values(inbox_version=users.c.inbox_version + 1)
)
_BUMP_TENANT = (
    update(tenants)
    .where(tenants.c.id == bindparam("tenant"))
    .values(inbox_version=tenants.c.inbox_version + 1)
)
_BUMP_EVERYONE = update(counters).where(counters.c.name == GLOBAL_INBOX).values(value=counters.c.value + 1)


async def insert(tx: Statements, notification: Notification) -> None:
    """Write a notification and bump the version of all who would count it."""
    row = {
        "id": notification.id,
        "tenant_id": notification.tenant_id,
        "audience": notification.audience.value,
        "user_id": notification.user_id,
        "title": notification.title,
        "content": notification.content,
        "priority": notification.priority.value,
        "data": notification.data,
        "created_at": notification.created_at,
        "created_by": notification.created_by,
    }
    await tx.execute(_INSERT, row)
    if notification.audience is Audience.GLOBAL:
        await tx.execute(_BUMP_EVERYONE)
    elif notification.user_id is None:
        await tx.execute(_BUMP_TENANT, {"tenant": notification.tenant_id})
    else:
        await bump_user(tx, notification.tenant_id, notification.user_id)


async def bump_user(tx: Statements, tenant: TenantId, user: UserId) -> None:
    """Note that what this user would count has changed."""
    await tx.execute(_BUMP_USER, {"user": user, "tenant": tenant})


async def inbox(
    tx: AsyncConnection,
    tenant: TenantId,
    user: UserId,
    *,
    cursor: str | None,
    limit: int,
    unread: bool = False,
) -> Page[Notification]:
    """A page of what the user may read and has not archived, the newest first.

    Raises:
        TidingsError: VALIDATION_FAILED, no cursor of ours.
    """
    query = _inbox(unread=unread, continued=cursor is not None)
    parameters: dict[str, object] = {"tenant": tenant, "user": user, "size": limit + 1}
    if cursor is not None:
        parameters["before"] = read_cursor(cursor)
    found = [_notification_of(row) for row in await tx.execute(query, parameters)]
    return page_of(found, limit, lambda notification: notification.id)


async def get(
    tx: AsyncConnection, tenant: TenantId, user: UserId, notification_id: str
) -> Notification | None:
    """One that the user may read, archived or not; None: there is no such thing to them."""
    query = _with_receipt(tenant, user).where(
        notifications.c.id == notification_id,
        or_(*ways_to_reach(tenant, user)),
        since_joined(tenant, user),
    )
    row = (await tx.execute(query)).one_or_none()
    return None if row is None else _notification_of(row)


@crosses_tenants("a storm of connects asks for many users at once; each reader is named with the tenant")
async def unread(tx: Statements, readers: Collection[tuple[TenantId, UserId]]) -> dict[UserId, Unread]:
    """What each of the readers has not read, in one query whatever their number (<= 5,000).

    Counts and versions are of one moment. A reader who does not exist is left out.
    """
    found = await tx.execute(_unread_counts(tx.dialect.name), {"readers": [user for _, user in readers]})
    asked = set(readers)
    return {user: Unread(count, number) for tenant, user, count, number in found if (tenant, user) in asked}


@crosses_tenants("retention is one for all tenants")
async def purge(tx: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete at most ``limit`` of those made before, the oldest first, with their receipts."""
    oldest = (
        select(notifications.c.id)
        .where(notifications.c.id < first_id_at(before), notifications.c.created_at < before)
        .order_by(notifications.c.id)
        .limit(limit)
    )
    return (await tx.execute(delete(notifications).where(notifications.c.id.in_(oldest)))).rowcount


def ways_to_reach(
    tenant: _Tenant, user: _User
) -> tuple[ColumnElement[bool], ColumnElement[bool], ColumnElement[bool]]:
    """The three ways to be addressed: as a user, as one of a tenant, as one of all."""
    own = and_(notifications.c.tenant_id == tenant, notifications.c.user_id == user)
    return own, and_(notifications.c.tenant_id == tenant, _TO_TENANT), _TO_EVERYONE


def since_joined(tenant: _Tenant, user: _User) -> ColumnElement[bool]:
    """Made since the user exists; for a user that the tenant does not have, nothing is."""
    joined = select(users.c.created_at).where(users.c.id == user, users.c.tenant_id == tenant)
    return notifications.c.created_at >= joined.scalar_subquery()


def unmarked(tenant: _Tenant, user: _User, *marks: ColumnElement[datetime]) -> ColumnElement[bool]:
    """The reader's receipt, if there is one, has none of these marks.

    Spelled so that each receipt is looked up by its key. As NOT EXISTS it may become a join, which is quadratic
    where the planner has not heard yet how many receipts there are.
    """
    receipt = select(receipts.c.notification_id).where(
        receipts.c.notification_id == notifications.c.id,
        receipts.c.user_id == user,
        receipts.c.tenant_id == tenant,
        or_(*(mark.is_not(None) for mark in marks)),
    )
    return receipt.correlate(users, notifications).scalar_subquery().is_(None)


@cache
def _unread_counts(dialect: str) -> Select[*tuple[Any, ...]]:
    """For each of the bound ``readers``, by their ids: what is unread, and the version of that."""
    fresh = unmarked(users.c.tenant_id, users.c.id, receipts.c.read_at, receipts.c.archived_at)

    def waiting(addressed: ColumnElement[bool]) -> ScalarSelect[int]:
        query = select(func.count()).select_from(notifications)
        query = query.where(addressed, notifications.c.created_at >= users.c.created_at, fresh)
        return query.correlate(users).scalar_subquery()

    own, ours, everyone = (waiting(way) for way in ways_to_reach(users.c.tenant_id, users.c.id))
    version = users.c.inbox_version + tenants.c.inbox_version + counters.c.value
    return (
        select(
            users.c.tenant_id, users.c.id, (own + ours + everyone).label("unread"), version.label("version")
        )
        .join_from(users, tenants, tenants.c.id == users.c.tenant_id)
        .join(counters, counters.c.name == GLOBAL_INBOX)
        .where(users.c.id.in_(listed(dialect, "readers")))
    )


@cache
def _inbox(*, unread: bool, continued: bool) -> Select[*tuple[Any, ...]]:
    """The page of ``:size`` for ``:user`` of ``:tenant``, older than ``:before`` if it is a continued one."""
    tenant, user = bindparam("tenant", type_=Key), bindparam("user", type_=Key)
    size = bindparam("size", type_=Integer)
    marks = (receipts.c.archived_at, receipts.c.read_at) if unread else (receipts.c.archived_at,)

    def newest(addressed: ColumnElement[bool]) -> Select[str]:
        query = select(notifications.c.id).where(
            addressed, since_joined(tenant, user), unmarked(tenant, user, *marks)
        )
        if continued:
            query = query.where(notifications.c.id < bindparam("before", type_=Key))
        # A subquery, because SQLite takes no ORDER BY within a UNION.
        ids = query.order_by(notifications.c.id.desc()).limit(size).subquery()
        return select(ids.c.id)

    ways = union_all(*(newest(addressed) for addressed in ways_to_reach(tenant, user))).subquery()
    ids = select(ways.c.id).order_by(ways.c.id.desc()).limit(size)
    query = _with_receipt(tenant, user).where(notifications.c.id.in_(ids))
    return query.order_by(notifications.c.id.desc())


def _with_receipt(tenant: _Tenant, user: _User) -> Select[*tuple[Any, ...]]:
    own_receipt = and_(
        receipts.c.notification_id == notifications.c.id,
        receipts.c.user_id == user,
        receipts.c.tenant_id == tenant,
    )
    return select(*_COLUMNS).select_from(notifications.outerjoin(receipts, own_receipt))


def _notification_of(row: Sequence[Any]) -> Notification:
    notification_id, tenant_id, audience, user_id, title, content, priority, *rest = row
    data, created_at, created_by, read_at, archived_at = rest
    return Notification(
        notification_id,
        tenant_id,
        Audience(audience),
        user_id,
        title,
        content,
        Priority(priority),
        data,
        created_at,
        created_by,
        read_at,
        archived_at,
    )
