"""Claims, on both databases: each job to one worker, in turn or by name."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.leases import KINDS, claim, of, put, stored
from tests.support.store_rig import a_job, after, migrated, settle
from tidings.domain.job import JobPriority, JobStatus
from tidings.domain.people import User
from tidings.store import claims, jobs, kinds, lease
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.lease import Outcome


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


@pytest.fixture
async def ann(db: Database) -> User:
    _, (user,) = await settle(db)
    return user


async def test_claimed(db: Database, ann: User) -> None:
    """A claimed job is running, in its next attempt, from the start, and the worker's."""
    await put(db, a_job(ann, stage="old", progress=0.7, message="old"))
    (one,) = await claim(db, "w1", at=3)
    job = one.job
    assert (job.status, job.attempt, job.started_at) == (JobStatus.RUNNING, 1, after(3))
    assert (job.stage, job.progress, one.message) == (None, 0.0, None)
    assert (one.lease_owner, one.lease_expires_at) == ("w1", after(13))
    assert await stored(db, job.id) == one
    assert await claim(db, "w2", at=4) == []


async def test_not_yet(db: Database, ann: User) -> None:
    """A delayed job is claimed when its time has come, and keeps nobody behind it waiting."""
    delayed, ready = a_job(ann, run_at=after(5)), a_job(ann, run_at=after(1))
    await put(db, delayed, ready)
    assert [one.job.id for one in await claim(db, "w1", 9, at=4.999)] == [ready.job.id]
    assert [one.job.id for one in await claim(db, "w1", 9, at=5)] == [delayed.job.id]


async def test_own_kinds_only(db: Database, ann: User) -> None:
    """A worker gets jobs of the kinds it runs, and external jobs are nobody's."""
    await put(db, a_job(ann, kind="report.build"), a_job(ann, kind="external", run_at=None))
    async with db.write() as tx:
        assert await claims.in_turn(tx, "w1", ["demo.steps", "external"], 9, after(1), 10) == []
        assert await claims.in_turn(tx, "w1", [], 9, after(1), 10) == []
        assert len(await claims.in_turn(tx, "w1", ["demo.steps", "report.build"], 9, after(1), 10)) == 1


@pytest.mark.parametrize("limit", [1, 7])
async def test_race(db: Database, ann: User, limit: int) -> None:
    """Workers that claim at the same time get each job once, and all of them."""
    made = [a_job(ann) for _ in range(40)]
    await put(db, *made)
    got: list[str] = []

    async def work(worker: str) -> None:
        while batch := await claim(db, worker, limit):
            got.extend(one.job.id for one in batch)

    await asyncio.gather(*(work(f"w{number}") for number in range(5)))
    assert sorted(got) == [one.job.id for one in made]


class TestNamed:
    """Certain jobs, of which a worker was told, whoever else waits."""

    async def test_these_and_no_others(self, db: Database, ann: User) -> None:
        """They start as any claimed job does; those that wait longer stay where they are."""
        older, told, other = (a_job(ann, run_at=after(second)) for second in (1, 2, 3))
        await put(db, older, told, other)
        async with db.write() as tx:
            (one,) = await claims.named(tx, "w1", [told.job.id], KINDS, after(3), 10)
        assert (one.job.id, one.job.status, one.job.attempt) == (told.job.id, JobStatus.RUNNING, 1)
        assert (one.lease_owner, one.lease_expires_at, one.job.started_at) == ("w1", after(13), after(3))
        assert await stored(db, told.job.id) == one
        assert [each.job.id for each in await claim(db, "w2", 9, at=3)] == [older.job.id, other.job.id]

    async def test_only_what_may_run(self, db: Database, ann: User) -> None:
        """Not what is held, over, of another kind, external or not yet due, and not what does not exist."""
        held, over = a_job(ann), a_job(ann, status=JobStatus.FAILED)
        await put(db, held)
        await claim(db, "w1")
        late, foreign = a_job(ann, run_at=after(5)), a_job(ann, kind="report.build")
        external = a_job(ann, kind="external", run_at=None)
        await put(db, over, late, foreign, external)
        names = [one.job.id for one in (held, over, late, foreign, external)]
        async with db.write() as tx:
            assert await claims.named(tx, "w2", [*names, "nothing"], [*KINDS, "external"], after(4), 10) == []
            assert await claims.named(tx, "w2", [], KINDS, after(9), 10) == []
            assert await claims.named(tx, "w2", names, [], after(9), 10) == []
            assert len(await claims.named(tx, "w2", names, KINDS, after(5), 10)) == 1

    async def test_race(self, db: Database, ann: User) -> None:
        """Workers that were told of the same jobs at the same time get each job once, and all of them."""
        made = [a_job(ann) for _ in range(20)]
        await put(db, *made)
        names = [one.job.id for one in made]

        async def work(worker: str) -> list[StoredJob]:
            async with db.write() as tx:
                return await claims.named(tx, worker, names, KINDS, after(1), 10)

        got = await asyncio.gather(*(work(f"w{number}") for number in range(5)))
        assert sorted(one.job.id for some in got for one in some) == names


class TestTurn:
    """Whose turn it is: "Claim order is one SQL expression: priority, then fairness between tenants, then age"."""

    async def test_age(self, db: Database, ann: User) -> None:
        """Of one tenant's jobs the oldest comes first."""
        made = [a_job(ann, run_at=after(second)) for second in (3, 1, 2)]
        await put(db, *made)
        order = [(await claim(db, "w1", at=10))[0].run_at for _ in made]
        assert order == [after(1), after(2), after(3)]

    async def test_priority(self, db: Database, ann: User) -> None:
        """ "priorities ``pro`` over ``standard``", whenever they came, one by one or many at once."""
        standard = [a_job(ann) for _ in range(3)]
        pro = [a_job(ann, priority=JobPriority.PRO, kind=kind, run_at=after(5)) for kind in KINDS * 3]
        await put(db, *standard, *pro)
        first = await claim(db, "w1", at=9)
        rest = await claim(db, "w1", 3, at=9)
        assert [one.job.priority for one in (*first, *rest)] == [JobPriority.PRO] * 3 + [JobPriority.STANDARD]

    async def test_age_among_equals(self, db: Database, ann: User) -> None:
        """Between tenants that have nothing running, and between kinds, what waits longest comes first."""
        _, (eve,) = await settle(db, "globex", "eve")
        both = ["demo.steps", "report.build"]
        made = [
            a_job(owner, kind=kind, run_at=after(second))
            for second, (owner, kind) in enumerate(
                [(eve, both[1]), (ann, both[1]), (ann, both[0]), (eve, both[0])]
            )
        ]
        await put(db, *made[::-1])
        order = []
        for _ in made:
            async with db.write() as tx:
                (one,) = await claims.in_turn(tx, "w1", both, 1, after(9), 10)
            order.append(one.job.id)
        assert order == [one.job.id for one in made]

    async def test_idle_tenant_is_next(self, db: Database, ann: User) -> None:
        """ "behind another tenant's backlog of any length its first job waits for one job per worker slot at
        most": with all slots taken by the others, the first that is free is its own."""
        _, (eve,) = await settle(db, "globex", "eve")
        await put(db, *(a_job(ann) for _ in range(50)))
        assert len(await claim(db, "w1", 3)) == 3
        late = a_job(eve, run_at=after(9))
        await put(db, late)
        assert [one.job.id for one in await claim(db, "w1", at=10)] == [late.job.id]

    async def test_one_slot(self, db: Database, ann: User) -> None:
        """The same where there is one slot for all, so that nobody has anything running at a claim."""
        _, (eve,) = await settle(db, "globex", "eve")
        await put(db, *(a_job(ann) for _ in range(4)))
        order = []
        for second in range(6):
            if second == 1:
                await put(db, a_job(eve, run_at=after(1)), a_job(eve, run_at=after(1)))
            (one,) = await claim(db, "w1", at=second)
            order.append(one.job.user_id == eve.id)
            async with db.write() as tx:
                await lease.finish(tx, "w1", [Outcome(of(one), JobStatus.SUCCEEDED)], after(second + 0.5))
        assert order == [False, True, False, True, False, False]

    async def test_idle_tenant_before_priority(self, db: Database, ann: User) -> None:
        """ "A tenant with nothing running is served next": before the ``pro`` jobs of one that has something."""
        _, (eve,) = await settle(db, "globex", "eve")
        await put(db, *(a_job(ann, priority=JobPriority.PRO) for _ in range(9)))
        assert len(await claim(db, "w1", 3)) == 3
        late = a_job(eve, run_at=after(9))
        await put(db, late, a_job(eve, run_at=after(9)))
        batch = [one.job for one in await claim(db, "w1", 3, at=10)]
        assert late.job.id in [job.id for job in batch]
        assert [job.user_id == ann.id for job in batch].count(True) == 2

    async def test_priority_with_one_slot(self, db: Database, ann: User) -> None:
        """A backlog of ``pro`` jobs, run one by one, keeps no other tenant waiting for more than one of them."""
        _, (eve,) = await settle(db, "globex", "eve")
        await put(db, *(a_job(ann, priority=JobPriority.PRO) for _ in range(5)))
        order = []
        for second in range(4):
            if second == 1:
                await put(db, a_job(eve, run_at=after(1)), a_job(eve, run_at=after(1)))
            (one,) = await claim(db, "w1", at=second)
            order.append(one.job.user_id == eve.id)
            async with db.write() as tx:
                await lease.finish(tx, "w1", [Outcome(of(one), JobStatus.SUCCEEDED)], after(second + 0.5))
        assert order == [False, True, False, True]

    async def test_priority_among_those_who_have_something(self, db: Database, ann: User) -> None:
        """Where every tenant has something running, ``pro`` goes first, whoever has less."""
        _, (eve,) = await settle(db, "globex", "eve")
        await put(db, *(a_job(ann) for _ in range(2)), a_job(eve))
        assert len(await claim(db, "w1", 3)) == 3
        await put(db, a_job(eve, run_at=after(1)), a_job(ann, run_at=after(2), priority=JobPriority.PRO))
        (first,) = await claim(db, "w1", at=3)
        assert first.job.user_id == ann.id

    async def test_idle_tenants_with_many_kinds(self, db: Database, ann: User) -> None:
        """A tenant with jobs of several kinds takes no other's place: each that waits gets its first job."""
        _, (eve,) = await settle(db, "globex", "eve")
        both = ["demo.steps", "report.build"]
        await put(db, *(a_job(ann, kind=kind) for kind in both), a_job(eve, run_at=after(1)))
        async with db.write() as tx:
            batch = await claims.in_turn(tx, "w1", both, 2, after(2), 10)
        assert {one.job.user_id for one in batch} == {ann.id, eve.id}

    async def test_batch_is_shared(self, db: Database, ann: User) -> None:
        """A worker that takes many at once takes as many of each tenant, whatever their backlogs."""
        _, (eve,) = await settle(db, "globex", "eve")
        await put(db, *(a_job(ann) for _ in range(20)), *(a_job(eve, run_at=after(5)) for _ in range(3)))
        batch = await claim(db, "w1", 6, at=9)
        assert sorted(one.job.user_id == eve.id for one in batch) == [False] * 3 + [True] * 3

    async def test_kinds_share_the_tenants_turn(self, db: Database, ann: User) -> None:
        """A tenant with jobs of several kinds gets no more for it."""
        _, (eve,) = await settle(db, "globex", "eve")
        both = ["demo.steps", "report.build"]
        await put(db, *(a_job(ann, kind=kind) for kind in both * 4), *(a_job(eve) for _ in range(8)))
        async with db.write() as tx:
            batch = await claims.in_turn(tx, "w1", both, 8, after(1), 10)
        assert sum(one.job.user_id == eve.id for one in batch) == 4

    async def test_registered_kinds(self, db: Database, ann: User) -> None:
        """Kinds are claimed once they are registered, which a job of theirs needs anyway."""
        async with db.write() as tx:
            await kinds.register(tx, {"new": {"type": "object"}}, after(0))
            await jobs.insert(tx, [a_job(ann, kind="new")])
            assert len(await claims.in_turn(tx, "w1", ["new", "never"], 9, after(1), 10)) == 1
