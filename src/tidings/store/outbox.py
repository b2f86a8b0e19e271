"""The outbox: events that are committed and not published yet.

An event is appended in the transaction that makes it true, after the statement that changed the row it tells
of. That row is locked until the commit, so the events of one user, tenant or job stand here in the order in
which they happened.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete as delete_from
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.channel import Channel, ChannelKind
from tidings.domain.event import Event, EventClass
from tidings.domain.ids import new_id
from tidings.domain.people import TenantId
from tidings.store.tables import outbox
from tidings.store.tenancy import crosses_tenants

_INSERT = insert(outbox)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event in line. Its ``key`` is never empty, so it can be published twice and arrive once."""

    seq: int
    channel: Channel
    event: Event


@dataclass(frozen=True, slots=True)
class Lag:
    """How many events wait, and since when the first does."""

    count: int
    since: datetime | None


async def append(tx: AsyncConnection, events: Iterable[tuple[Channel, Event]], at: datetime) -> None:
    """Put events at the end of the line, in the order given; each channel names its tenant."""
    rows = [
        {
            "tenant_id": channel.tenant,
            "channel_kind": channel.kind.value,
            "channel_name": channel.name,
            "event": event.name,
            "data": event.data,
            "klass": event.klass.value,
            "key": event.key or new_id(),
            "created_at": at,
        }
        for channel, event in events
    ]
    if rows:
        await tx.execute(_INSERT, rows)


@crosses_tenants("one relay publishes what all tenants have to tell")
async def pending(tx: AsyncConnection, limit: int) -> list[Waiting]:
    """The first ``limit`` in line."""
    query = (
        select(
            outbox.c.seq,
            outbox.c.tenant_id,
            outbox.c.channel_kind,
            outbox.c.channel_name,
            outbox.c.event,
            outbox.c.data,
            outbox.c.klass,
            outbox.c.key,
        )
        .order_by(outbox.c.seq)
        .limit(limit)
    )
    return [
        Waiting(
            seq,
            Channel(TenantId(tenant), ChannelKind(kind), name),
            Event(event, data, EventClass(klass), key),
        )
        for seq, tenant, kind, name, event, data, klass, key in await tx.execute(query)
    ]


@crosses_tenants("one relay publishes what all tenants have to tell")
async def delete(tx: AsyncConnection, seqs: Collection[int]) -> None:
    """Take out what was published (<= 10,000)."""
    await tx.execute(delete_from(outbox).where(outbox.c.seq.in_(seqs)))


@crosses_tenants("how far the relay is behind concerns the installation")
async def lag(tx: AsyncConnection) -> Lag:
    count, since = (await tx.execute(select(func.count(), func.min(outbox.c.created_at)))).one()
    return Lag(count, since)
