"""The stored part of the security log: written in batches, read by administrators, dropped when it is old.

What is noted and when is decided elsewhere; here a line is kept as it was said. A line's id is made of its own
time, so that the order of ids is that of events and a span of time is a range of the index.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy import insert as insert_into
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.audit import Filter, SecurityEvent, SecurityEventType
from tidings.domain.ids import new_id
from tidings.domain.people import TenantId
from tidings.store.paging import Page, first_id_at, page_of, read_cursor
from tidings.store.tables import security_events
from tidings.store.tenancy import crosses_tenants

_COLUMNS = (
    security_events.c.id,
    security_events.c.event,
    security_events.c.timestamp,
    security_events.c.request_id,
    security_events.c.node_id,
    security_events.c.client_id,
    security_events.c.user_id,
    security_events.c.tenant_id,
    security_events.c.ip,
    security_events.c.origin,
    security_events.c.user_agent,
    security_events.c.reason,
    # By its key: ``count`` is also a method.
    security_events.c["count"],
)

_NUMBERS = 0x1000


@crosses_tenants("events of one batch may be of any tenant, and some are of none")
async def insert(tx: AsyncConnection, events: Iterable[SecurityEvent]) -> None:
    """Write down a batch."""
    rows = [_row(event, number) for number, event in enumerate(events)]
    if rows:
        await tx.execute(insert_into(security_events), rows)


async def page(
    tx: AsyncConnection, tenant: TenantId, wanted: Filter, *, cursor: str | None, limit: int
) -> Page[SecurityEvent]:
    """The tenant's events, the newest first.

    Raises:
        TidingsError: VALIDATION_FAILED, no cursor of ours.
    """
    return await _page(tx, [security_events.c.tenant_id == tenant], wanted, cursor, limit)


@crosses_tenants("the super admin reads the whole log, that of no tenant included")
async def page_of_all(
    tx: AsyncConnection, wanted: Filter, *, cursor: str | None, limit: int
) -> Page[SecurityEvent]:
    """Every tenant's events and those of none, the newest first.

    Raises:
        TidingsError: VALIDATION_FAILED, no cursor of ours.
    """
    return await _page(tx, [], wanted, cursor, limit)


@crosses_tenants("retention is one for all tenants")
async def purge(tx: AsyncConnection, before: datetime, limit: int) -> int:
    """Delete at most ``limit`` of those that happened before, the oldest first."""
    oldest = (
        select(security_events.c.id)
        .where(security_events.c.id < first_id_at(before), security_events.c.timestamp < before)
        .order_by(security_events.c.id)
        .limit(limit)
    )
    return (await tx.execute(delete(security_events).where(security_events.c.id.in_(oldest)))).rowcount


async def _page(
    tx: AsyncConnection,
    conditions: list[ColumnElement[bool]],
    wanted: Filter,
    cursor: str | None,
    limit: int,
) -> Page[SecurityEvent]:
    query = select(*_COLUMNS).where(*conditions).order_by(security_events.c.id.desc()).limit(limit + 1)
    if wanted.event is not None:
        query = query.where(security_events.c.event == wanted.event.name)
    if wanted.user is not None:
        query = query.where(security_events.c.user_id == wanted.user)
    if wanted.since is not None:
        query = query.where(security_events.c.id >= first_id_at(wanted.since))
    if wanted.until is not None:
        query = query.where(security_events.c.id < first_id_at(wanted.until))
    if cursor is not None:
        query = query.where(security_events.c.id < read_cursor(cursor))
    rows = (await tx.execute(query)).all()
    found = page_of(rows, limit, lambda row: str(row.id))
    return Page(tuple(_event_of(row) for row in found.items), found.next_cursor)


def _id(event: SecurityEvent, number: int) -> str:
    """A UUIDv7 of the event's time, behind those of the same time that came before it in its batch.

    The number takes the place of ``rand_a``, as RFC 9562, section 6.2 lets it (method 1).
    """
    return f"{first_id_at(event.timestamp)[:15]}{number % _NUMBERS:03x}{new_id()[18:]}"


def _row(event: SecurityEvent, number: int) -> dict[str, object]:
    return {
        "id": _id(event, number),
        "event": event.event.name,
        "timestamp": event.timestamp,
        "request_id": event.request_id,
        "node_id": event.node_id,
        "client_id": event.client_id,
        "user_id": event.user_id,
        "tenant_id": event.tenant_id,
        "ip": event.ip,
        "origin": event.origin,
        "user_agent": event.user_agent,
        "reason": event.reason,
        "count": event.count,
    }


def _event_of(row: Sequence[Any]) -> SecurityEvent:
    _, name, *rest = row
    return SecurityEvent(SecurityEventType[name], *rest)
