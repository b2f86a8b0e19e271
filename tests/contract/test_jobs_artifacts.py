"""Artifacts of jobs, on both databases: stored before they are listed, told of once, and swept when nobody has them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support import family_kinds
from tests.support.job_rig import SMALL, JobRig, job_rig
from tests.support.storages import BrokenStorage
from tidings.artifacts.base import Label
from tidings.artifacts.local import LocalStorage
from tidings.domain.ids import new_id
from tidings.domain.job import Artifact, Job, JobStatus
from tidings.jobs import artifacts as module
from tidings.jobs import queue
from tidings.jobs.artifacts import Artifacts
from tidings.jobs.context import JobFailed, JobStopped
from tidings.jobs.outcome import Failed
from tidings.jobs.queue import Ended, utc_now


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[JobRig]:
    async with job_rig(database_url) as rig:
        yield rig


async def stored(rig: JobRig, artifact: Artifact) -> bytes:
    pieces = await rig.storage.open(artifact.key, 0, artifact.size)
    return b"".join([piece async for piece in pieces])


async def keys(storage: LocalStorage) -> set[str]:
    return {key async for key in storage.list()}


async def claimed(rig: JobRig, worker: str = "w1", lease_seconds: float = 60.0) -> Job:
    """A job that the worker holds."""
    await rig.submit("test.noop")
    return await claim(rig, worker, lease_seconds)


async def claim(rig: JobRig, worker: str, lease_seconds: float = 60.0) -> Job:
    async with rig.database.write() as tx:
        (one,) = await queue.claim(tx, worker, {"test.noop": 1}, 1, utc_now(), lease_seconds)
    return one.job


async def test_a_job_makes_artifacts(rig: JobRig) -> None:
    """They are listed in the job in the order they came, each told of by an event of its own."""
    rig.start_worker()
    job = await rig.submit("test.files", {"files": {"a.txt": 3, "b.json": 0}})
    done = await rig.finished(job)
    assert [one.to_json() for one in done.artifacts] == [
        {"name": "a.txt", "mediaType": "text/plain", "bytes": 3},
        {"name": "b.json", "mediaType": "application/json", "bytes": 0},
    ]
    assert [await stored(rig, one) for one in done.artifacts] == [b"\1\1\1", b""]
    told = [event for event in rig.events(job) if event["type"] == "artifact"]
    assert [event["artifact"] for event in told] == [one.to_json() for one in done.artifacts]
    assert [(event["status"], event["message"]) for event in told] == [
        ("running", "a.txt"),
        ("running", "b.json"),
    ]


async def test_a_plain_function_makes_artifacts(rig: JobRig, tmp_path: Path) -> None:
    """Out of its files and out of bytes; once the call returns they are stored, and the file may go."""
    rig.start_worker()
    done = await rig.finished(await rig.submit("test.files-plain", {"path": str(tmp_path / "notes")}))
    assert done.status is JobStatus.SUCCEEDED
    assert [one.name for one in done.artifacts] == ["from-file.txt", "from-bytes"]
    assert done.artifacts[1].media_type == "text/x-notes; charset=utf-8"
    assert [await stored(rig, one) for one in done.artifacts] == [family_kinds.NOTES] * 2


async def test_a_newer_one_takes_the_place_of_an_older(rig: JobRig) -> None:
    """A second attempt's artifact replaces the first one's, whose bytes go."""
    rig.start_worker()
    job = await rig.submit("test.files", {"files": {"a.txt": 2}, "fail": True})
    done = await rig.finished(job)
    (one,) = done.artifacts
    assert await stored(rig, one) == b"\2\2"
    assert await keys(rig.storage) == {one.key}
    assert rig.types(job).count("artifact") == 2


async def test_the_same_again(rig: JobRig) -> None:
    """The same bytes under the same name are told of once, as of a job that begins anew behind a wait."""
    rig.start_worker()
    job = await rig.submit("test.same-file")
    done = await rig.finished(job)
    assert rig.types(job).count("artifact") == 1
    assert await keys(rig.storage) == {done.artifacts[0].key}


async def test_too_large(rig: JobRig) -> None:
    """A job that makes too much hears of it where it made it; one that lets it through fails for good."""
    rig.start_worker()
    told = await rig.finished(await rig.submit("test.too-large-plain"))
    assert told.result == "ARTIFACT_TOO_LARGE"
    failed = await rig.finished(await rig.submit("test.files", {"files": {"a.bin": SMALL.size + 1}}))
    assert failed.error is not None
    assert (failed.error.code, failed.attempt) == ("ARTIFACT_TOO_LARGE", 1)
    assert await keys(rig.storage) == set()


async def test_too_many(rig: JobRig) -> None:
    """What is over the number is neither listed nor kept."""
    rig.start_worker()
    failed = await rig.finished(await rig.submit("test.files", {"files": dict.fromkeys("abcd", 1)}))
    assert failed.error is not None
    assert failed.error.code == "TOO_MANY_ARTIFACTS"
    assert await keys(rig.storage) == {one.key for one in failed.artifacts}
    assert len(failed.artifacts) == SMALL.count


async def test_a_lost_attempt_replaces_nothing(rig: JobRig) -> None:
    """A worker that lost its job, to another one or to its own later attempt, leaves no trace."""
    lost = await claimed(rig, lease_seconds=0.0)
    async with rig.database.write() as tx:
        await queue.settle(tx, "w1", [Ended(lost, Failed())], utc_now())
    held = await claim(rig, "w2")
    await rig.artifacts.attach("w2", held, "a.txt", b"new", "text/plain")
    for worker, late in (("w1", lost), ("w2", lost), ("w1", held)):
        with pytest.raises(JobStopped):
            await rig.artifacts.attach(worker, late, "a.txt", b"old", "text/plain")
    (one,) = (await rig.jobs.get(rig.principal, held.id)).artifacts
    assert await stored(rig, one) == b"new"
    assert await keys(rig.storage) == {one.key}


async def test_a_storage_that_is_away(rig: JobRig) -> None:
    """The attempt fails, to be tried again; nothing is listed."""
    job = await claimed(rig)
    broken = Artifacts(rig.database, rig.relay, BrokenStorage(), SMALL)
    with pytest.raises(JobFailed) as fault:
        await broken.attach("w1", job, "a.txt", b"x", "text/plain")
    assert (fault.value.code, fault.value.retry) == ("STORAGE_UNAVAILABLE", True)
    assert (await rig.jobs.get(rig.principal, job.id)).artifacts == ()
    await broken.delete(["a/b"])
    await broken.forget([job.id])


async def test_forgotten_with_their_job(rig: JobRig) -> None:
    """Artifacts are deleted with their job, and those of others are not."""
    jobs = [await claimed(rig, worker) for worker in ("w1", "w2")]
    for worker, job in zip(("w1", "w2"), jobs, strict=True):
        for name in "ab":
            await rig.artifacts.attach(worker, job, name, b"x", "text/plain")
    await rig.artifacts.forget([jobs[0].id, new_id()])
    assert {key.partition("/")[0] for key in await keys(rig.storage)} == {jobs[1].id}


async def test_the_sweep(rig: JobRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that no job lists are deleted once they are old; what is young, listed or not ours stays."""
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    job = await claimed(rig)
    await rig.artifacts.attach("w1", job, "a", b"x", "text/plain")
    listed = await keys(rig.storage)
    foreign, label = "somebody/else", Label("x", "text/plain")
    orphans = {f"{job.id}/{new_id()}", f"{new_id()}/{new_id()}", f"{new_id()}/{new_id()}.part"}
    for key in (*orphans, foreign):
        await rig.storage.put(key, b"x", label)
    assert await rig.artifacts.sweep() == 0
    monkeypatch.setattr(module, "ORPHAN_SECONDS", -60.0)
    assert await rig.artifacts.sweep() == len(orphans)
    assert await keys(rig.storage) == {*listed, foreign}


async def test_the_sweep_goes_on(rig: JobRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run again and again, and a storage that is away stops it no more than a database."""
    monkeypatch.setattr(module, "SWEEP_SECONDS", 0.0)
    broken = BrokenStorage()
    sweeping = asyncio.create_task(Artifacts(rig.database, rig.relay, broken, SMALL).run())
    async with asyncio.timeout(10):
        await broken.asked(3)
    sweeping.cancel()
