"""The artifacts of jobs as their rows list them. Their bytes are elsewhere, under the keys that stand here."""

from collections.abc import Collection, Iterable

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.domain.job import Artifact
from tidings.store.job_rows import artifact_rows, artifacts_of
from tidings.store.lease import Lease
from tidings.store.tables import jobs
from tidings.store.tenancy import crosses_tenants


@crosses_tenants("a lease names one job, and nobody but its worker has it")
async def held(tx: AsyncConnection, worker: str, lease: Lease) -> tuple[Artifact, ...] | None:
    """What the job lists so far, its row locked; None if the lease is lost."""
    query = select(jobs.c.artifacts).where(
        jobs.c.id == lease.job_id, jobs.c.attempt == lease.attempt, jobs.c.lease_owner == worker
    )
    kept = (await tx.execute(query.with_for_update())).scalar_one_or_none()
    return None if kept is None else artifacts_of(kept)


@crosses_tenants("the row was locked by ``held``, fenced by the worker's lease")
async def write(tx: AsyncConnection, lease: Lease, artifacts: Iterable[Artifact]) -> None:
    """Set the list that ``held`` has given, in the same transaction."""
    statement = update(jobs).where(jobs.c.id == lease.job_id)
    await tx.execute(statement.values(artifacts=artifact_rows(artifacts)))


@crosses_tenants("files are swept for all tenants at once")
async def keys(tx: AsyncConnection, job_ids: Collection[str]) -> set[str]:
    """The keys of all that those jobs list."""
    rows = await tx.scalars(select(jobs.c.artifacts).where(jobs.c.id.in_(job_ids)))
    return {artifact.key for row in rows for artifact in artifacts_of(row)}
