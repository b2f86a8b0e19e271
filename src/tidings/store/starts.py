"""When jobs of kinds with a rate were started, by whichever worker: what is counted against the rate.

A turn begins with ``count``, which makes other workers with such a kind wait until the transaction ends; so what
is counted is still true when the jobs are claimed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.job import Rate
from tidings.store.job_rows import StoredJob
from tidings.store.tables import kinds, starts
from tidings.store.tenancy import crosses_tenants


@dataclass(frozen=True, slots=True)
class Counted:
    """How many starts count now, and since when the first of them does."""

    starts: int
    since: datetime | None


@crosses_tenants("a kind's rate is one for all tenants")
async def count(tx: AsyncConnection, rates: Mapping[str, Rate], now: datetime) -> dict[str, Counted]:
    """The starts within each kind's time. Those of before are forgotten."""
    names = sorted(rates)
    # No foreign key is in the way of this lock: jobs of the kind can be added meanwhile.
    locking = select(kinds.c.kind).where(kinds.c.kind.in_(names)).order_by(kinds.c.kind)
    await tx.execute(locking.with_for_update(key_share=True))
    for name in names:
        since = now - timedelta(seconds=rates[name].seconds)
        await tx.execute(delete(starts).where(starts.c.kind == name, starts.c.started_at <= since))
    query = (
        select(starts.c.kind, func.count(), func.min(starts.c.started_at))
        .where(starts.c.kind.in_(names))
        .group_by(starts.c.kind)
    )
    found = {kind: Counted(number, since) for kind, number, since in await tx.execute(query)}
    return {name: found.get(name, Counted(0, None)) for name in names}


@crosses_tenants("a kind's rate is one for all tenants")
async def note(tx: AsyncConnection, started: Iterable[StoredJob], now: datetime) -> None:
    """These attempts begin now."""
    rows = [
        {"kind": one.job.kind, "job_id": one.job.id, "attempt": one.job.attempt, "started_at": now}
        for one in started
    ]
    if rows:
        await tx.execute(insert(starts), rows)


@crosses_tenants("retention is one for all tenants")
async def purge(tx: AsyncConnection, before: datetime) -> None:
    """Forget starts of before, among them those of kinds that have no rate any more."""
    await tx.execute(delete(starts).where(starts.c.started_at < before))
