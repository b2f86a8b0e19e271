"""Leases under random interleavings, on both databases: never one job with two owners, none lost.

The model is a dictionary from job to the lease that is the latest. Workers act on leases they once got, lost
or not; the store says what took, and the model knows what must have.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.support.store_rig import a_job, after, migrated, settle
from tidings.domain.job import JobStatus
from tidings.store import claims, jobs, kinds, lease
from tidings.store.database import Database
from tidings.store.lease import Lease, Outcome, Retry

LEASE_SECONDS = 10
_numbers = count()


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


@dataclass
class Model:
    """Who holds what. ``granted`` are all leases ever given out, with their workers."""

    queued: set[str]
    held: dict[Lease, str] = field(default_factory=dict)
    until: dict[Lease, float] = field(default_factory=dict)
    granted: list[tuple[Lease, str]] = field(default_factory=list)
    over: set[str] = field(default_factory=set)

    def grant(self, one: Lease, worker: str, until: float) -> None:
        assert one.job_id in self.queued, "only what is queued can be claimed"
        assert all(one != earlier for earlier, _ in self.granted), "no lease is given out twice"
        self.queued.remove(one.job_id)
        self.held[one] = worker
        self.until[one] = until
        self.granted.append((one, worker))

    def drop(self, one: Lease) -> None:
        del self.held[one]
        del self.until[one]


steps = st.lists(
    st.tuples(
        st.sampled_from(["claim", "claim", "renew", "finish", "retry", "release", "reap"]),
        st.integers(0, 2),
        st.integers(0, 9),
        st.integers(0, 6),
    ),
    max_size=25,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
async def test_one_owner(db: Database, steps: list[tuple[str, int, int, int]]) -> None:
    """ "fence every write with the attempt number": what takes is exactly what the latest lease allows."""
    number = next(_numbers)
    kind = f"kind{number}"
    _, (ann,) = await settle(db, f"t{number}")
    made = [a_job(ann, kind=kind) for _ in range(4)]
    async with db.write() as tx:
        await kinds.register(tx, {kind: {}}, after(0))
        await jobs.insert(tx, made)
    model = Model({one.job.id for one in made})
    now = 0.0
    for what, who, which, seconds in steps:
        now += seconds
        async with db.write() as tx:
            await _take(tx, model, kind, (what, f"w{number}.{who}", which), now)
    await _check(db, model)


async def _take(tx: AsyncConnection, model: Model, kind: str, step: tuple[str, str, int], now: float) -> None:
    what, worker, which = step
    if what == "claim":
        got = await claims.in_turn(tx, worker, [kind], 1 + which % 3, after(now), LEASE_SECONDS)
        assert len(got) == min(1 + which % 3, len(model.queued))
        for one in got:
            model.grant(Lease(one.job.id, one.job.attempt), worker, now + LEASE_SECONDS)
    elif what == "renew":
        mine = {one for one, owner in model.held.items() if owner == worker}
        renewed = await lease.renew(tx, worker, after(now), LEASE_SECONDS)
        assert {Lease(*item) for item in renewed.held.items()} == mine
        model.until.update(dict.fromkeys(mine, now + LEASE_SECONDS))
    elif what == "reap":
        await _reap(tx, model, now)
    elif model.granted:
        target, owner = model.granted[which % len(model.granted)]
        allowed = {target} if model.held.get(target) == owner else set()
        assert await _write(tx, what, owner, target, now) == allowed
        if allowed:
            model.drop(target)
            (model.over if what == "finish" else model.queued).add(target.job_id)


async def _write(tx: AsyncConnection, what: str, worker: str, target: Lease, now: float) -> set[Lease]:
    if what == "finish":
        return await lease.finish(tx, worker, [Outcome(target, JobStatus.SUCCEEDED)], after(now))
    if what == "retry":
        return await lease.retry_later(tx, worker, [Retry(target, after(now))])
    return await lease.release(tx, worker, [target])


async def _reap(tx: AsyncConnection, model: Model, now: float) -> None:
    found = await lease.expired(tx, after(now), 100)
    late = {Lease(one.job.id, one.job.attempt): one.lease_owner for one in found}
    assert late == {one: owner for one, owner in model.held.items() if model.until[one] <= now}
    for one, owner in late.items():
        assert owner is not None
        assert await lease.retry_later(tx, owner, [Retry(one, after(now))]) == {one}
        model.drop(one)
        model.queued.add(one.job_id)


async def _check(db: Database, model: Model) -> None:
    """Each job is where the model has it: none lost, none twice."""
    async with db.write() as tx:
        for one, owner in model.held.items():
            found = await jobs.get_any(tx, one.job_id)
            assert found is not None
            assert (found.lease_owner, found.job.attempt) == (owner, one.attempt)
            assert await lease.finish(tx, owner, [Outcome(one, JobStatus.SUCCEEDED)], after(1000)) == {one}
        for job_id in model.queued | model.over:
            found = await jobs.get_any(tx, job_id)
            assert found is not None
            assert found.lease_owner is None
            assert found.job.status.finished is (job_id in model.over)
