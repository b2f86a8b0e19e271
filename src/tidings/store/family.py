"""Parents and children in the jobs table: who waits, for whom, and how far they are together.

A parent waits in its row, held by nobody. Transactions that touch several members lock them in the order of
their ids (``job_rows.locked``), in which a parent comes before its children; those that have locked a child
already pass over a parent that somebody else has locked. So no two wait for each other, and what was passed over is
found by the sweep.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, case, exists, func, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.job import JobStatus
from tidings.domain.people import TenantId
from tidings.store.job_rows import StoredJob, locked, stored_of
from tidings.store.tables import jobs
from tidings.store.tenancy import crosses_tenants

_child: Final = jobs.alias("child")
_parent: Final = jobs.alias("parent")
# Word by word as the partial index has it.
_OPEN: Final = "child.parent_id IS NOT NULL AND child.status IN ('queued', 'running')"
_waits: Final[ColumnElement[bool]] = (
    jobs.c.waiting_since.is_not(None)
    & (jobs.c.status == JobStatus.RUNNING.value)
    & jobs.c.lease_owner.is_(None)
)
_alone: Final = ~exists().where(_child.c.parent_id == jobs.c.id, text(_OPEN)).correlate(jobs)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a parent that waits has come by its children."""

    job_id: str
    progress: float
    stage: str
    message: str | None


@crosses_tenants("a worker locks what it is going to settle, of whatever tenant")
async def hold(tx: AsyncConnection, job_ids: Collection[str]) -> None:
    """Lock these jobs, so that whatever else happens to a member of their families comes before or after."""
    await tx.execute(locked(jobs.c.id.in_(job_ids)))


@crosses_tenants("a worker reads the children of the jobs it has just claimed")
async def children(tx: AsyncConnection, parents: Collection[str]) -> list[StoredJob]:
    """Those of the parents' children that they can ask for again."""
    query = select(jobs).where(jobs.c.parent_id.in_(parents), jobs.c.child_key.is_not(None))
    return [stored_of(row) for row in await tx.execute(query.order_by(jobs.c.id))]


@crosses_tenants("a worker asks after a job that it holds")
async def depth(tx: AsyncConnection, job_id: str) -> int:
    """How many generations the job is below one that a user made."""
    return int(await tx.scalar(select(jobs.c.depth).where(jobs.c.id == job_id)) or 0)


@crosses_tenants("a worker begins new attempts at jobs it has just claimed")
async def disown(tx: AsyncConnection, parents: Collection[str]) -> None:
    """Let a new attempt of these jobs make those children anew that have not succeeded."""
    await tx.execute(
        update(jobs)
        .where(
            jobs.c.parent_id.in_(parents),
            jobs.c.child_key.is_not(None),
            jobs.c.status != JobStatus.SUCCEEDED.value,
        )
        .values(child_key=None)
    )


@crosses_tenants("children are found by the ids of the jobs a worker holds")
async def keys(tx: AsyncConnection, job_ids: Collection[str]) -> dict[str, str]:
    """The keys of those among the jobs that are children."""
    query = select(jobs.c.id, jobs.c.child_key).where(jobs.c.id.in_(job_ids), jobs.c.child_key.is_not(None))
    return {row.id: row.child_key for row in await tx.execute(query)}


@crosses_tenants("a parent is found by its children")
async def waiting(tx: AsyncConnection, job_ids: Collection[str]) -> list[StoredJob]:
    """Those of the jobs that wait, locked; one that somebody else has locked is passed over."""
    query = select(jobs).where(jobs.c.id.in_(job_ids), _waits).order_by(jobs.c.id)
    return [stored_of(row) for row in await tx.execute(query.with_for_update(skip_locked=True))]


@crosses_tenants("a parent is found by its children")
async def means(tx: AsyncConnection, parents: Collection[str]) -> dict[str, float]:
    """How far the children that each parent waits for have come, by weight, 0 to 1. What is over counts whole."""
    over = _child.c.status.not_in((JobStatus.QUEUED.value, JobStatus.RUNNING.value))
    part = _child.c.weight * case((over, 1.0), else_=_child.c.progress)
    query = (
        select(_child.c.parent_id, func.sum(part) / func.sum(_child.c.weight))
        .join(_parent, _parent.c.id == _child.c.parent_id)
        .where(
            _child.c.parent_id.in_(parents),
            _child.c.child_key.is_not(None),
            _child.c.created_at >= _parent.c.waiting_since,
        )
        .group_by(_child.c.parent_id)
    )
    return {parent: float(mean) for parent, mean in await tx.execute(query)}


@crosses_tenants("a parent is found by its children")
async def note(tx: AsyncConnection, standings: Iterable[Standing]) -> None:
    """Keep how far parents have come, that ``waiting`` has locked."""
    for one in standings:
        await tx.execute(
            update(jobs)
            .where(jobs.c.id == one.job_id)
            .values(progress=one.progress, stage=one.stage, message=one.message)
        )


@crosses_tenants("a parent is found by its children")
async def resume(tx: AsyncConnection, job_ids: Collection[str]) -> list[str]:
    """Queue those of the jobs again, in their old place, that wait and have no child left that is not over."""
    free = (
        select(jobs.c.id)
        .where(jobs.c.id.in_(job_ids), _waits)
        .order_by(jobs.c.id)
        .with_for_update(skip_locked=True)
        .cte("free")
    )
    statement = (
        update(jobs)
        .where(jobs.c.id.in_(select(free.c.id)), _waits, _alone)
        .values(
            status=JobStatus.QUEUED.value,
            progress=case(
                (jobs.c.waiting_until > jobs.c.progress, jobs.c.waiting_until), else_=jobs.c.progress
            ),
        )
        .returning(jobs.c.id)
    )
    return list((await tx.execute(statement)).scalars())


@crosses_tenants("the sweep looks after the families of every tenant")
async def forgotten(tx: AsyncConnection, limit: int) -> list[str]:
    """Jobs that wait for nobody."""
    query = select(jobs.c.id).where(_waits, _alone).limit(limit)
    return list((await tx.execute(query)).scalars())


@crosses_tenants("the sweep looks after the families of every tenant")
async def bereft(tx: AsyncConnection, limit: int) -> list[tuple[TenantId, str]]:
    """Parents that are over and have children that are not, nor told to end; with their tenants."""
    finished = [status.value for status in JobStatus if status.finished]
    query = (
        select(_parent.c.tenant_id, _parent.c.id)
        .distinct()
        .select_from(_child.join(_parent, _parent.c.id == _child.c.parent_id))
        .where(
            text(_OPEN),
            _child.c.child_key.is_not(None),
            _child.c.cancel_requested.is_(False),
            _parent.c.status.in_(finished),
        )
        .limit(limit)
    )
    return [(TenantId(tenant), job_id) for tenant, job_id in await tx.execute(query)]
