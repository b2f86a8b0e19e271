"""Jobs whose code ends oddly: each gets an end, and the worker goes on. "Every accepted job gets a terminal event"."""

from collections.abc import AsyncIterator

import pytest

from tests.support.job_rig import JobRig, job_rig
from tests.support.odd_kinds import ENDS
from tidings.domain.job import JobError, JobStatus

ACCIDENT = JobError("JOB_FAILED", "The job failed")
REFUSED = JobError("REFUSED", "Not with me")


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[JobRig]:
    async with job_rig(database_url) as rig:
        rig.start_worker()
        yield rig


@pytest.mark.parametrize("kind", ["odd.raise", "odd.raise-plain", "odd.raise-below"])
async def test_whatever_is_raised(rig: JobRig, kind: str) -> None:
    """Section 5: "Every accepted job gets a terminal event": in the function, a process, or a task of a group."""
    for how in ENDS:
        done = await rig.finished(await rig.submit(kind, {"how": how}))
        assert (done.status, done.error) == (JobStatus.FAILED, REFUSED if how == "refusal" else ACCIDENT)
    assert (await rig.finished(await rig.submit("test.noop"))).status is JobStatus.SUCCEEDED


async def test_cancelled_in_a_task_group(rig: JobRig) -> None:
    """Section 7: "cancel from anywhere (running code sees it at its next progress report)", in a subtask too."""
    job = await rig.submit("odd.listen-below")
    await rig.told(job, "progress")
    await rig.jobs.cancel(rig.principal, job.id)
    assert (await rig.finished(job)).status is JobStatus.CANCELLED


async def test_out_of_time_in_a_task_group(rig: JobRig) -> None:
    """Section 7: "per-job timeout"."""
    done = await rig.finished(await rig.submit("odd.limited-below"))
    assert done.error is not None
    assert (done.status, done.error.code) == (JobStatus.FAILED, "TIMEOUT")


async def test_waiting_in_a_task_group(rig: JobRig) -> None:
    """Tasks that wait for children of their own, let them all run and go on with what they returned."""
    job = await rig.submit("odd.gather-below")
    done = await rig.finished(job)
    assert (done.status, done.result) == (JobStatus.SUCCEEDED, [{"attempt": 1}] * 2)


async def test_a_result_that_is_nested_too_deep(rig: JobRig) -> None:
    """It fails at once and for good, so that the page of the user's jobs can be written."""
    good = await rig.finished(await rig.submit("odd.nest", {"levels": 32}))
    assert good.status is JobStatus.SUCCEEDED
    bad = await rig.finished(await rig.submit("odd.nest", {"levels": 33}))
    assert (bad.status, bad.attempt, bad.result) == (JobStatus.FAILED, 1, None)
    assert bad.error == JobError("RESULT_REFUSED", "The job's result is nested deeper than 32 levels")


async def test_a_flood_of_reports(rig: JobRig) -> None:
    """Of reports in quick succession only the newest is told, and the last always, before the end."""
    job = await rig.submit("odd.flood", {"count": 20_000})
    await rig.finished(job)
    told = [event["message"] for event in rig.events(job) if event["type"] == "progress"]
    assert told[:3] == ["step 1", "step 2", "step 3"]
    assert told[-1] == "step 20000"
    assert len(told) < 2000


async def test_a_report_a_step_is_told(rig: JobRig) -> None:
    """Section 11: "a progress event a step": no stream misses one of as many as `demo.steps` can take."""
    job = await rig.submit("odd.flood", {"count": 1000})
    await rig.finished(job)
    told = [event["message"] for event in rig.events(job) if event["type"] == "progress"]
    assert told == [f"step {step}" for step in range(1, 1001)]
