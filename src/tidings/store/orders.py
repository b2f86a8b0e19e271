"""Orders to all nodes: rows that stand in the order of their commits, read by every process, kept for minutes.

An order is appended in the transaction that makes it due. What an order means is not known here.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.order import Order, OrderKind
from tidings.store.tables import orders
from tidings.store.tenancy import crosses_tenants

_LOCK: Final = text("SELECT pg_advisory_xact_lock(hashtext('tidings orders'))")


@dataclass(frozen=True, slots=True)
class Given:
    """An order and its number, which grows with each commit."""

    seq: int
    order: Order


@crosses_tenants("an order may concern a node, or tokens of every tenant")
async def append(tx: AsyncConnection, given: Iterable[Order], now: datetime) -> None:
    """Put orders at the end of the line, last in their transaction.

    PostgreSQL hands out numbers before it commits, so who reads up to one might miss a lower one that is
    committed later. Therefore whoever appends waits until all who did before have committed.
    """
    rows = [
        {
            "kind": order.kind.value,
            "tenant_id": order.tenant_id,
            "user_id": order.user_id,
            "node_id": order.node_id,
            "created_at": now,
        }
        for order in given
    ]
    if not rows:
        return
    if tx.dialect.name == "postgresql":
        await tx.execute(_LOCK)
    await tx.execute(insert(orders), rows)


@crosses_tenants("every node carries out the orders of all tenants")
async def latest(tx: AsyncConnection) -> int:
    """The number of the last order, 0 if there is none."""
    return int(await tx.scalar(select(func.coalesce(func.max(orders.c.seq), 0))) or 0)


@crosses_tenants("every node carries out the orders of all tenants")
async def after(tx: AsyncConnection, seq: int, limit: int) -> list[Given]:
    """The first ``limit`` orders behind that number. None with a lower number will ever follow."""
    query = (
        select(orders.c.seq, orders.c.kind, orders.c.tenant_id, orders.c.user_id, orders.c.node_id)
        .where(orders.c.seq > seq)
        .order_by(orders.c.seq)
        .limit(limit)
    )
    return [
        Given(number, Order(OrderKind(kind), tenant, user, node))
        for number, kind, tenant, user, node in await tx.execute(query)
    ]


@crosses_tenants("what every node has carried out is nobody's")
async def delete_before(tx: AsyncConnection, moment: datetime, limit: int) -> int:
    """Delete at most ``limit`` that were given before; how many those were."""
    old = select(orders.c.seq).where(orders.c.created_at < moment).order_by(orders.c.created_at).limit(limit)
    return (await tx.execute(delete(orders).where(orders.c.seq.in_(old)))).rowcount
