"""Jobs that are put, claimed and looked at: what the tests of claims and leases need of the store."""

from tests.support.store_rig import after
from tidings.store import claims, jobs
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.lease import Lease

KINDS = ["demo.steps"]


async def put(db: Database, *stored: StoredJob) -> None:
    async with db.write() as tx:
        await jobs.insert(tx, stored)


async def claim(db: Database, worker: str, limit: int = 1, *, at: float = 0) -> list[StoredJob]:
    async with db.write() as tx:
        return await claims.in_turn(tx, worker, KINDS, limit, after(at), 10)


async def stored(db: Database, job_id: str) -> StoredJob:
    async with db.read() as tx:
        found = await jobs.get_any(tx, job_id)
    assert found is not None
    return found


def of(one: StoredJob) -> Lease:
    return Lease(one.job.id, one.job.attempt)
