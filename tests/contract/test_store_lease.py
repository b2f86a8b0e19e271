"""Leases, on both databases: one worker a job, and nothing from those who lost it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.support.store_rig import a_job, after, migrated, settle
from tidings.domain.job import Artifact, JobError, JobPriority, JobStatus
from tidings.domain.people import User
from tidings.store import artifacts, jobs, kinds, lease
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob
from tidings.store.lease import Lease, Outcome, Progress, Retry

KINDS = ["demo.steps"]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


@pytest.fixture
async def ann(db: Database) -> User:
    _, (user,) = await settle(db)
    return user


async def put(db: Database, *stored: StoredJob) -> None:
    async with db.write() as tx:
        await jobs.insert(tx, stored)


async def claim(db: Database, worker: str, limit: int = 1, *, at: float = 0) -> list[StoredJob]:
    async with db.write() as tx:
        return await lease.claim(tx, worker, KINDS, limit, after(at), 10)


async def stored(db: Database, job_id: str) -> StoredJob:
    async with db.read() as tx:
        found = await jobs.get_any(tx, job_id)
    assert found is not None
    return found


def of(one: StoredJob) -> Lease:
    return Lease(one.job.id, one.job.attempt)


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
        assert await lease.claim(tx, "w1", ["demo.steps", "external"], 9, after(1), 10) == []
        assert await lease.claim(tx, "w1", [], 9, after(1), 10) == []
        assert len(await lease.claim(tx, "w1", ["demo.steps", "report.build"], 9, after(1), 10)) == 1


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


async def test_renewed(db: Database, ann: User) -> None:
    """A worker renews all it holds at once, and learns what it holds."""
    await put(db, *(a_job(ann) for _ in range(3)))
    held = await claim(db, "w1", 2)
    (other,) = await claim(db, "w2")
    async with db.write() as tx:
        renewed = await lease.renew(tx, "w1", after(5), 10)
    assert renewed == lease.Renewed({one.job.id: 1 for one in held}, frozenset())
    assert {(await stored(db, one.job.id)).lease_expires_at for one in held} == {after(15)}
    assert (await stored(db, other.job.id)).lease_expires_at == after(10)


async def test_finished(db: Database, ann: User) -> None:
    """Jobs end in a batch, each in its own way."""
    await put(db, *(a_job(ann) for _ in range(3)))
    good, bad, stopped = await claim(db, "w1", 3)
    async with db.write() as tx:
        await lease.note(tx, "w1", [Progress(of(bad), "mix", 0.5)])
        took = await lease.finish(
            tx,
            "w1",
            [
                Outcome(of(good), JobStatus.SUCCEEDED, {"n": 1}, message="done"),
                Outcome(of(bad), JobStatus.FAILED, error=JobError("E", "It broke.")),
                Outcome(of(stopped), JobStatus.CANCELLED),
            ],
            after(7),
        )
        assert (await lease.renew(tx, "w1", after(8), 10)).held == {}
    assert took == {of(good), of(bad), of(stopped)}
    ends = [await stored(db, one.job.id) for one in (good, bad, stopped)]
    assert [one.job.status for one in ends] == [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED]
    assert {one.job.finished_at for one in ends} == {after(7)}
    assert {(one.lease_owner, one.lease_expires_at) for one in ends} == {(None, None)}
    assert [one.job.result for one in ends] == [{"n": 1}, None, None]
    assert [one.job.error for one in ends] == [None, JobError("E", "It broke."), None]
    assert [one.job.progress for one in ends] == [1.0, 0.5, 0.0]
    assert [one.message for one in ends] == ["done", None, None]


async def test_retried(db: Database, ann: User) -> None:
    """ "a failed attempt that will be retried is ``queued`` again with its attempt number, never ``failed``"."""
    await put(db, a_job(ann))
    (one,) = await claim(db, "w1")
    async with db.write() as tx:
        assert await lease.retry_later(tx, "w1", [Retry(of(one), after(5), "again in 5 s")]) == {of(one)}
    waiting = await stored(db, one.job.id)
    assert (waiting.job.status, waiting.job.attempt) == (JobStatus.QUEUED, 1)
    assert (waiting.run_at, waiting.message, waiting.lease_owner) == (after(5), "again in 5 s", None)
    assert await claim(db, "w2", at=4) == []
    (again,) = await claim(db, "w2", at=5)
    assert again.job.attempt == 2


async def test_released(db: Database, ann: User) -> None:
    """ "accepted work finished or handed back": it can be claimed at once, and lost no attempt."""
    await put(db, a_job(ann, max_attempts=1))
    (one,) = await claim(db, "w1")
    async with db.write() as tx:
        assert await lease.release(tx, "w1", [of(one)]) == {of(one)}
    (again,) = await claim(db, "w2")
    assert (again.job.attempt, again.job.max_attempts) == (2, 2)


async def test_to_be_cancelled(db: Database, ann: User) -> None:
    """A job whose cancellation was asked for is never queued again: it takes an end."""
    await put(db, a_job(ann))
    (one,) = await claim(db, "w1")
    async with db.write() as tx:
        assert await jobs.cancel(tx, ann.tenant_id, ann.id, one.job.id, after(1))
        assert await lease.retry_later(tx, "w1", [Retry(of(one), after(1))]) == set()
        assert await lease.release(tx, "w1", [of(one)]) == set()
        assert await lease.finish(tx, "w1", [Outcome(of(one), JobStatus.CANCELLED)], after(2)) == {of(one)}


async def test_fenced(db: Database, ann: User) -> None:
    """A worker whose lease was lost, to another or to itself in a later attempt, writes nothing."""
    await put(db, a_job(ann))
    (old,) = await claim(db, "w1")
    async with db.write() as tx:
        assert await lease.retry_later(tx, "w1", [Retry(of(old), after(1))])
    (new,) = await claim(db, "w1", at=1)
    for worker, late in (("w1", of(old)), ("w2", of(new)), ("w2", of(old))):
        async with db.write() as tx:
            await lease.note(tx, worker, [Progress(late, "late", 0.9, "late")])
            assert await artifacts.held(tx, worker, late) is None
            assert await lease.finish(tx, worker, [Outcome(late, JobStatus.SUCCEEDED)], after(2)) == set()
            assert await lease.retry_later(tx, worker, [Retry(late, after(2))]) == set()
            assert await lease.release(tx, worker, [late]) == set()
        assert await stored(db, old.job.id) == new


async def test_nothing(db: Database, ann: User) -> None:
    """An empty batch does nothing."""
    await put(db, a_job(ann))
    (one,) = await claim(db, "w1")
    async with db.write() as tx:
        assert await lease.finish(tx, "w1", [], after(1)) == set()
        assert await lease.retry_later(tx, "w1", []) == set()
        assert await lease.release(tx, "w1", []) == set()
        await lease.note(tx, "w1", [])
    assert await stored(db, one.job.id) == one


async def test_progress(db: Database, ann: User) -> None:
    """How far an attempt has come is there for whoever asks later."""
    await put(db, *(a_job(ann) for _ in range(2)))
    one, two = await claim(db, "w1", 2)
    async with db.write() as tx:
        await lease.note(tx, "w1", [Progress(of(two), None, 0.1), Progress(of(one), "mix", 0.5, "half")])
    first, second = await stored(db, one.job.id), await stored(db, two.job.id)
    assert (first.job.stage, first.job.progress, first.message) == ("mix", 0.5, "half")
    assert (second.job.stage, second.job.progress, second.message) == (None, 0.1, None)


async def test_artifacts(db: Database, ann: User) -> None:
    """What a job lists comes back as it was written, with what only the server knows of it."""
    await put(db, a_job(ann))
    (one,) = await claim(db, "w1")
    wav = Artifact("a.wav", "audio/wav", 10, "job/1", "digest")
    async with db.write() as tx:
        assert await artifacts.held(tx, "w1", of(one)) == ()
        await artifacts.write(tx, of(one), [wav])
    assert (await stored(db, one.job.id)).job.artifacts == (wav,)
    async with db.read() as tx:
        assert await artifacts.keys(tx, [one.job.id, "missing"]) == {"job/1"}


async def test_expired(db: Database, ann: User) -> None:
    """ "A worker killed with SIGKILL loses no job": the reaper finds what it held and gives it back."""
    await put(db, *(a_job(ann) for _ in range(2)))
    (lost,) = await claim(db, "w1")
    (alive,) = await claim(db, "w2", at=1)
    async with db.write() as tx:
        assert await lease.expired(tx, after(9), 10) == []
        assert [one.job.id for one in await lease.expired(tx, after(11), 1)] == [lost.job.id]
        (found,) = await lease.expired(tx, after(10), 10)
        assert found == lost
        assert found.lease_owner is not None
        assert await lease.retry_later(tx, found.lease_owner, [Retry(of(found), after(10))])
    async with db.write() as tx:
        assert (await lease.renew(tx, "w1", after(11), 10)).held == {}
        assert [one.job.id for one in await lease.expired(tx, after(11), 10)] == [alive.job.id]


async def test_silent_external(db: Database, ann: User) -> None:
    """ "one silent for ``timeoutSeconds`` fails with ``TIMEOUT``", though no worker holds it."""
    silent = a_job(ann, kind="external", run_at=None, timeout_seconds=60, lease_expires_at=after(60))
    ours = a_job(ann)
    await put(db, silent, ours)
    timeout = JobError("TIMEOUT", "Nothing was heard of the job")
    async with db.write() as tx:
        (found,) = await lease.expired(tx, after(60), 10)
        ends = [Outcome(of(one), JobStatus.FAILED, error=timeout) for one in (found, ours)]
        assert await lease.finish(tx, None, ends, after(60)) == {of(silent)}
    assert (await stored(db, silent.job.id)).job.error == timeout
    assert (await stored(db, ours.job.id)).job.status is JobStatus.QUEUED


async def test_several_reapers(postgres_url: str) -> None:
    """Reapers that work at the same time share what there is to do."""
    async with migrated(postgres_url) as db:
        _, (ann,) = await settle(db)
        await put(db, *(a_job(ann) for _ in range(4)))
        await claim(db, "w1", 4)
        async with db.write() as one, db.write() as other:
            first = await lease.expired(one, after(20), 2)
            second = await lease.expired(other, after(20), 10)
    assert len({found.job.id for found in (*first, *second)}) == 4


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
                (one,) = await lease.claim(tx, "w1", both, 1, after(9), 10)
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
            batch = await lease.claim(tx, "w1", both, 2, after(2), 10)
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
            batch = await lease.claim(tx, "w1", both, 8, after(1), 10)
        assert sum(one.job.user_id == eve.id for one in batch) == 4

    async def test_registered_kinds(self, db: Database, ann: User) -> None:
        """Kinds are claimed once they are registered, which a job of theirs needs anyway."""
        async with db.write() as tx:
            await kinds.register(tx, {"new": {"type": "object"}}, after(0))
            await jobs.insert(tx, [a_job(ann, kind="new")])
            assert len(await lease.claim(tx, "w1", ["new", "never"], 9, after(1), 10)) == 1
