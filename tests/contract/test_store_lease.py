"""Leases, on both databases: one worker a job, and nothing from those who lost it."""

from collections.abc import AsyncIterator

import pytest

from tests.support.leases import claim, of, put, stored
from tests.support.store_rig import a_job, after, migrated, settle
from tidings.domain.job import Artifact, JobError, JobStatus
from tidings.domain.people import User
from tidings.store import artifacts, jobs, lease
from tidings.store.database import Database
from tidings.store.lease import Outcome, Progress, Retry


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    async with migrated(database_url) as database:
        yield database


@pytest.fixture
async def ann(db: Database) -> User:
    _, (user,) = await settle(db)
    return user


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
