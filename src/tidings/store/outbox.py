"""The outbox: events that are committed and not published yet.

An event is appended in the transaction that makes it true, after the statement that changed the row it tells
of. That row is locked until the commit, so the events of one user, tenant or job stand here in the order in
which they happened.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson
from sqlalchemy import BigInteger, Integer, Row, Text, bindparam, func, select, text
from sqlalchemy import delete as delete_from

from tidings.domain.channel import Channel, ChannelKind
from tidings.domain.event import Event, EventClass
from tidings.domain.ids import new_id
from tidings.domain.people import TenantId
from tidings.store.columns import Moment
from tidings.store.stroke import Statements
from tidings.store.tables import outbox
from tidings.store.tenancy import crosses_tenants

HOLD_SECONDS = 5
"""How long PostgreSQL waits for a process that has its turn and stands still, before the next may go on."""

# A batch is one parameter: as many rows as there are events would take several times as long.
_INSERT: Final = """
INSERT INTO outbox (tenant_id, channel_kind, channel_name, event, data, klass, key, created_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, {data}, value ->> 5, value ->> 6, :at FROM {rows}
"""
APPEND: Final = {
    "sqlite": _INSERT.format(data="CAST(value ->> 4 AS BLOB)", rows="json_each(:batch)"),
    "postgresql": _INSERT.format(
        data="convert_to(value ->> 4, 'UTF8')", rows="json_array_elements(CAST(:batch AS json))"
    ),
}
"""The statement of ``append``, by database, for others to be part of."""
TYPES: Final = (bindparam("batch", type_=Text), bindparam("at", type_=Moment))
_APPEND: Final = {dialect: text(statement).bindparams(*TYPES) for dialect, statement in APPEND.items()}
# Rows that a crash of the database brings back are published again with their keys, so no commit waits for a disk.
_TURN = text(
    "SELECT set_config('synchronous_commit', 'off', true),"
    f" set_config('idle_in_transaction_session_timeout', '{HOLD_SECONDS * 1000}', true),"
    " pg_advisory_xact_lock(hashtext('tidings outbox'))"
)


_LINE: Final = (
    outbox.c.seq,
    outbox.c.tenant_id,
    outbox.c.channel_kind,
    outbox.c.channel_name,
    outbox.c.event,
    outbox.c.data,
    outbox.c.klass,
    outbox.c.key,
)
_SIZE: Final = bindparam("size", type_=Integer)
_BEHIND: Final = outbox.c.seq > bindparam("after", type_=BigInteger)
_PENDING: Final = select(*_LINE).where(_BEHIND).order_by(outbox.c.seq).limit(_SIZE)
_LAG: Final = select(func.count().label("count"), func.min(outbox.c.created_at).label("since")).where(_BEHIND)
_DELETE: Final = delete_from(outbox).where(outbox.c.seq <= bindparam("last", type_=BigInteger))
# An array, so that each row is found by its number: of a table that is mostly empty a plan would join the whole.
_FIRST: Final = text("outbox.seq = ANY(ARRAY(SELECT seq FROM outbox ORDER BY seq LIMIT :size))")
_TAKE: Final = delete_from(outbox).where(_FIRST.bindparams(_SIZE)).returning(*_LINE)


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


async def append(tx: Statements, events: Iterable[tuple[Channel, Event]], at: datetime) -> None:
    """Put events at the end of the line, in the order given; each channel names its tenant."""
    given = list(events)
    if given:
        await tx.execute(_APPEND[tx.dialect.name], {"batch": batch_of(given), "at": at})


def batch_of(events: Iterable[tuple[Channel, Event]]) -> str:
    """The parameter ``batch`` of ``APPEND``."""
    rows = [
        (
            channel.tenant,
            channel.kind.value,
            channel.name,
            event.name,
            event.data.decode(),
            event.klass.value,
            event.key or new_id(),
        )
        for channel, event in events
    ]
    return orjson.dumps(rows).decode()


@crosses_tenants("relays of all processes take turns with all rows")
async def wait_turn(tx: Statements) -> None:
    """Wait until this is the only transaction that takes rows out, and stay so to its end. On PostgreSQL alone.

    Raises:
        TidingsError: UNAVAILABLE, somebody else has it for too long.
    """
    await tx.execute(_TURN)


@crosses_tenants("one relay publishes what all tenants have to tell")
async def pending(tx: Statements, limit: int, after: int = 0) -> list[Waiting]:
    """The first ``limit`` in line behind that number."""
    return [_waiting(row) for row in await tx.execute(_PENDING, {"size": limit, "after": after})]


@crosses_tenants("one relay publishes what all tenants have to tell")
async def take(tx: Statements, limit: int) -> list[Waiting]:
    """The first ``limit`` in line, which are out of it when the transaction is committed. On PostgreSQL alone."""
    rows = await tx.execute(_TAKE, {"size": limit})
    return sorted((_waiting(row) for row in rows), key=lambda one: one.seq)


@crosses_tenants("one relay publishes what all tenants have to tell")
async def delete(tx: Statements, last: int) -> None:
    """Take out what was published: all up to that number."""
    await tx.execute(_DELETE, {"last": last})


@crosses_tenants("how far the relay is behind concerns the installation")
async def lag(tx: Statements, after: int = 0) -> Lag:
    """What waits behind that number, up to which all was published."""
    [(count, since)] = await tx.execute(_LAG, {"after": after})
    return Lag(count, since)


def _waiting(row: Row[*tuple[Any, ...]]) -> Waiting:
    seq, tenant, kind, name, event, data, klass, key = row
    return Waiting(
        seq,
        Channel(TenantId(tenant), ChannelKind(kind), name),
        Event(event, data, EventClass(klass), key),
    )
