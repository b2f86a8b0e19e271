"""Real workers are killed with SIGKILL while families of jobs are under way: nothing is forgotten, nothing is
done twice over, on both databases.
"""

import asyncio
import random
import signal
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import orjson
from sqlalchemy import select

from tests.support.job_rig import JobRig, job_rig
from tests.support.processes import Child, running
from tidings.artifacts.local import LocalStorage
from tidings.domain.job import Job, JobStatus
from tidings.store.tables import outbox

ROOT = Path(__file__).parents[2]
KILLS = 8
PATIENCE_SECONDS = 120.0


async def begin(stack: ExitStack, url: str, folder: Path) -> Child:
    command: list[str | Path] = [sys.executable, "-m", "tests.support.family_worker", url, folder]
    child = await asyncio.to_thread(stack.enter_context, running(command, cwd=ROOT))
    await asyncio.to_thread(child.wait_for_output, "working")
    return child


async def all_jobs(rig: JobRig) -> list[Job]:
    found: list[Job] = []
    cursor = None
    while True:
        page = await rig.jobs.page(rig.principal, cursor=cursor, limit=100)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


async def over(rig: JobRig, jobs: list[Job]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        for job in jobs:
            await ended(rig, job)


async def ended(rig: JobRig, job: Job) -> None:
    while True:
        if (await rig.jobs.get(rig.principal, job.id)).status.finished:
            return
        await asyncio.sleep(0.05)


async def test_workers_that_are_killed(database_url: str, tmp_path: Path) -> None:
    """ "a worker killed with SIGKILL loses no job", parents that wait and their children among them."""
    chance = random.Random(7)
    folder = tmp_path / "artifacts"
    async with job_rig(database_url) as rig:
        rig.relaying.cancel()  # what the workers tell stays in the outbox, to be looked at
        with ExitStack() as stack:
            workers = [await begin(stack, database_url, folder) for _ in range(2)]
            parents = [await submit(rig) for _ in range(3)]
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.05, 0.4))
                victim = workers.pop(chance.randrange(2))
                victim.send(signal.SIGKILL)
                workers.append(await begin(stack, database_url, folder))
            await over(rig, parents)
        jobs = await all_jobs(rig)
        await check(rig, jobs, parents)
        stored = {key async for key in LocalStorage(folder).list()}
        assert {artifact.key for job in jobs for artifact in job.artifacts} <= stored


async def submit(rig: JobRig) -> Job:
    """A job with four children and, in turn, a child with four, whose own child has four."""
    async with rig.database.write() as tx:
        payload = {"value": 4, "deeper": 2}
        return await rig.jobs.submit(tx, rig.principal, kind="test.tribe", payload=payload)


async def check(rig: JobRig, jobs: list[Job], parents: list[Job]) -> None:
    """Each has succeeded, once, with its artifact; and each parent has just the children it asked for."""
    assert {job.status for job in jobs} == {JobStatus.SUCCEEDED}
    assert Counter(job.kind for job in jobs) == {"test.tribe": 9, "test.nap": 36}
    results = [job.result for job in jobs if job.id in {parent.id for parent in parents}]
    assert results == [18, 18, 18]
    assert all([one.name for one in job.artifacts] == ["value.txt"] for job in jobs if job.kind == "test.nap")
    async with rig.database.read() as tx:
        told = [orjson.loads(data) for data in await tx.scalars(select(outbox.c.data))]
    ends = Counter(event["jobId"] for event in told if event["type"] == "completed")
    assert ends == dict.fromkeys([job.id for job in jobs], 1)
