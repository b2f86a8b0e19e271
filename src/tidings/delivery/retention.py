"""What is kept for a time only, deleted when that is over: a little at a time, so that nobody waits for it."""

from datetime import UTC, datetime, timedelta

from tidings.delivery.orders import KEEP as KEEP_ORDERS
from tidings.store import audit, idempotency, orders, revocations, tickets
from tidings.store.database import Database

EVERY_SECONDS = 600.0
_AT_ONCE = 1000


async def sweep(database: Database, audit_days: int) -> int:
    """Delete what has had its time; how many rows that were.

    Raises:
        TidingsError: UNAVAILABLE.
    """
    now = datetime.now(UTC)
    total = 0
    gone = _AT_ONCE
    while gone >= _AT_ONCE:
        async with database.write() as tx:
            gone = await audit.purge(tx, now - timedelta(days=audit_days), _AT_ONCE)
            gone += await idempotency.purge(tx, now, _AT_ONCE)
            gone += await revocations.purge(tx, now, _AT_ONCE)
            gone += await tickets.purge(tx, now, _AT_ONCE)
            gone += await orders.delete_before(tx, now - KEEP_ORDERS, _AT_ONCE)
        total += gone
    return total
