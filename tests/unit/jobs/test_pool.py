"""Processes for plain functions: what comes back from them, and that none is left behind."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import uvloop
from structlog.testing import capture_logs

from tests.support.desks import FakeDesk
from tests.support.family_kinds import NOTES
from tests.support.job_kinds import KINDS
from tests.support.processes import running, wait_until
from tidings.jobs.children import NOTHING
from tidings.jobs.context import JobFailed, JobStopped, Stop
from tidings.jobs.execution import Execution
from tidings.jobs.outcome import Done, Failed, Lost, Outcome, Stopped, Waits
from tidings.jobs.pipe import Run
from tidings.jobs.pool import Pool

PATIENCE_SECONDS = 20.0
MODULE = "tests.support.job_kinds"

Report = tuple[float, str | None, str | None]


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(1, [MODULE])
    pool.start()
    yield pool
    await pool.close()


class Tried:
    """An attempt in a pool, with what it reported."""

    def __init__(self) -> None:
        self.desk = FakeDesk()
        self.execution: Execution | None = None

    @property
    def reports(self) -> list[Report]:
        return self.desk.reports

    async def end(self) -> Outcome:
        assert self.execution is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.execution.outcome

    async def begun(self) -> Execution:
        """Its execution, once it has reported."""
        assert self.execution is not None
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.desk.reported.wait()
        return self.execution


async def begin(pool: Pool, name: str, payload: dict[str, Any] | None = None, attempt: int = 1) -> Tried:
    kind = KINDS.get(name)
    assert kind is not None
    tried = Tried()
    run = Run("job", name, attempt, kind.target, payload or {}, NOTHING.to_json())
    tried.execution = pool.begin(run, tried.desk)
    return tried


async def run(pool: Pool, name: str, payload: dict[str, Any] | None = None, attempt: int = 1) -> Outcome:
    return await (await begin(pool, name, payload, attempt)).end()


async def pid_of(pool: Pool) -> int:
    outcome = await run(pool, "test.plain")
    assert isinstance(outcome, Done)
    pid: int = outcome.result["pid"]
    return pid


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def descriptors() -> int:
    return len(list(Path("/dev/fd").iterdir()))


async def test_a_function_runs_elsewhere(pool: Pool) -> None:
    """Plain functions run in a process pool: not in this process, and not in a new one each time."""
    first, second = await pid_of(pool), await pid_of(pool)
    assert first == second != os.getpid()


async def test_reports_come_in_order(pool: Pool) -> None:
    """A job's progress arrives as it was said, and before its result."""
    tried = await begin(pool, "test.die", {"count": 0}, attempt=3)
    assert await tried.end() == Done(3)
    assert tried.reports == [(0.25, "alive", None)]


async def test_a_failure_on_purpose(pool: Pool) -> None:
    """What a job raises to be shown comes back as it was raised."""
    assert await run(pool, "test.refuse") == Failed("REFUSED", "Not with me", retry=False)


async def test_a_result_that_is_none(pool: Pool) -> None:
    """What cannot be JSON is the job's failure; its child goes on."""
    outcome = await run(pool, "test.no-json")
    assert isinstance(outcome, Failed)
    assert outcome.code == "RESULT_REFUSED"
    assert outcome.detail is not None
    assert "no JSON value" in outcome.detail


async def test_a_function_that_is_gone(pool: Pool) -> None:
    """A kind whose function cannot be found, after a change of the code, fails and says so in the log."""
    tried = Tried()
    tried.execution = pool.begin(Run("job", "kind", 1, f"{MODULE}:gone", {}, {}), tried.desk)
    outcome = await tried.end()
    assert isinstance(outcome, Failed)
    assert "AttributeError" in (outcome.detail or "")


@pytest.mark.parametrize(("name", "code"), [("test.die", -9), ("test.exit", 7)])
async def test_a_child_that_dies_is_replaced(pool: Pool, name: str, code: int) -> None:
    """A child that dies ends its attempt as lost, whoever killed it, and the next attempt finds another."""
    before = await pid_of(pool)
    outcome = await run(pool, name, {"count": 1} if name == "test.die" else None)
    assert outcome == Lost(f"process {before} ended with exit code {code}")
    assert not alive(before)
    assert await pid_of(pool) != before


async def test_an_idle_child_that_dies_is_replaced(pool: Pool) -> None:
    """One that is killed while it waits takes no job with it, once that is known."""
    before = await pid_of(pool)
    os.kill(before, signal.SIGKILL)
    await asyncio.to_thread(wait_until, lambda: not alive(before))
    assert await pid_of(pool) != before


async def test_asked_it_hears_of_it_at_its_next_report(pool: Pool) -> None:
    """Cancel reaches running code at `ctx.progress()`; the child lives on."""
    before = await pid_of(pool)
    tried = await begin(pool, "test.listen-plain")
    (await tried.begun()).ask(Stop.CANCELLED)
    assert await tried.end() == Stopped()
    assert await pid_of(pool) == before


@pytest.mark.parametrize(("why", "name"), [(Stop.CANCELLED, "JobCancelled"), (Stop.TIMED_OUT, "JobTimedOut")])
async def test_it_hears_why(pool: Pool, why: Stop, name: str) -> None:
    """`JobCancelled` for a cancel, `JobTimedOut` for a timeout."""
    tried = await begin(pool, "test.why")
    (await tried.begun()).ask(why)
    assert await tried.end() == Done(name)


async def test_it_may_look_first(pool: Pool, tmp_path: Path) -> None:
    """`ctx.cancelled` lets code put something away before it ends."""
    tried = await begin(pool, "test.tidy-plain", {"path": str(tmp_path / "mark")})
    (await tried.begun()).ask(Stop.CANCELLED)
    assert await tried.end() == Done("done")
    assert (tmp_path / "mark").read_text() == "tidy"


async def test_killed_it_ends(pool: Pool) -> None:
    """A child that does not listen is ended by force."""
    tried = await begin(pool, "test.deaf-plain")
    execution = await tried.begun()
    execution.kill()
    assert isinstance(await tried.end(), Lost)
    assert not alive(int(tried.reports[0][1] or ""))


async def test_too_late_to_ask(pool: Pool) -> None:
    """What is said to an attempt that is over does not reach the next one in the same child."""
    tried = await begin(pool, "test.plain")
    await tried.end()
    assert tried.execution is not None
    tried.execution.ask(Stop.CANCELLED)
    tried.execution.kill()
    assert isinstance(await run(pool, "test.plain"), Done)


async def test_told_at_the_last_moment(pool: Pool) -> None:
    """A word that crosses with the result is not taken for the next attempt's."""
    tried = await begin(pool, "test.plain")
    assert tried.execution is not None
    tried.execution.ask(Stop.CANCELLED)
    assert isinstance(await tried.end(), Done)
    assert await run(pool, "test.die", {"count": 0}) == Done(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signals_are_the_parents(pool: Pool, number: signal.Signals) -> None:
    """Children ignore Ctrl-C and a service manager's SIGTERM to the whole group: the parent decides."""
    pid = await pid_of(pool)
    tried = await begin(pool, "test.listen-plain")
    execution = await tried.begun()
    os.kill(pid, number)
    tried.desk.reported.clear()
    await tried.begun()
    execution.ask(Stop.CANCELLED)
    assert await tried.end() == Stopped()


async def test_what_a_job_logs_is_logged_here(pool: Pool) -> None:
    """A child's lines go through the parent's log, with the job they belong to."""
    with capture_logs() as lines:
        await run(pool, "test.log")
    known = {"jobId": "job", "kind": "test.log", "attempt": 1}
    assert {"event": "from the context", "weight": 3, "log_level": "warning", **known} in lines
    assert {"event": "from a library", "log_level": "warning", **known} in lines


async def test_a_module_that_cannot_be_imported() -> None:
    """It costs the kinds that it has, and a line in the log, not the pool."""
    with capture_logs() as lines:
        pool = Pool(1, [MODULE, "tests.support.no_such_module"])
        pool.start()
        assert isinstance(await run(pool, "test.plain"), Done)
        await pool.close()
    assert any("no_such_module" in line["event"] and "exception" in line for line in lines)


async def test_children_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which no child comes up fails jobs, and does not try for ever."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    pool = Pool(2, [])
    with capture_logs() as lines:
        pool.start()
        outcome = await run(pool, "test.plain")
        await pool.close()
    assert isinstance(outcome, Lost)
    assert len([line for line in lines if line["event"] == "a process for jobs did not start"]) <= 3


async def test_no_process_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no process can be made, that is the caller's to know."""
    pool = Pool(1, [])
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(OSError, match="nowhere"):
        await begin(pool, "test.plain")
    await pool.close()


async def test_jobs_run_side_by_side() -> None:
    """As many at once as there are children."""
    pool = Pool(2, [MODULE])
    pool.start()
    tried = [await begin(pool, "test.listen-plain") for _ in range(2)]
    executions = [await each.begun() for each in tried]
    for execution in executions:
        execution.ask(Stop.CANCELLED)
    assert [await each.end() for each in tried] == [Stopped(), Stopped()]
    await pool.close()


async def test_one_after_the_other() -> None:
    """What is started beforehand is started in turn, and what was needed sooner counts as well."""
    pool = Pool(3, [MODULE])
    pool.start()
    for count in (1, 2):
        await begin(pool, "test.listen-plain")
        assert len(pool._children) == count
    await asyncio.to_thread(wait_until, lambda: [each.was_ready for each in pool._children] == [True] * 3)
    await pool.close()


async def test_closing_does_not_wait_for_a_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A child that still imports the kinds, however long that takes, is ended."""
    (tmp_path / "takes_long.py").write_text("import time; time.sleep(600)")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("tidings.jobs.pool.EXIT_SECONDS", 600)
    pool = Pool(1, ["takes_long"])
    pool.start()
    await asyncio.wait_for(pool.close(), 30)


async def test_nothing_is_left() -> None:
    """Closing a pool ends its children, the busy and the idle, and gives back tasks and descriptors."""
    before, tasks = descriptors(), asyncio.all_tasks()
    pool = Pool(2, [MODULE])
    pool.start()
    idle = await pid_of(pool)
    tried = await begin(pool, "test.deaf-plain")
    await tried.begun()
    await pool.close()
    assert isinstance(await tried.end(), Lost)
    assert not alive(idle)
    assert not alive(int(tried.reports[0][1] or ""))
    assert descriptors() == before
    assert asyncio.all_tasks() == tasks


def test_on_uvloop() -> None:
    """The server runs on uvloop: the pool does, too."""

    async def main() -> Outcome:
        pool = Pool(1, [MODULE])
        pool.start()
        outcome = await run(pool, "test.die", {"count": 0})
        await pool.close()
        return outcome

    assert uvloop.run(main()) == Done(1)


ORPHANS = f"""
import asyncio
from tests.unit.jobs.test_pool import begin
from tidings.jobs.pool import Pool

async def main():
    pool = Pool(2, ["{MODULE}"])
    pool.start()
    tried = await begin(pool, "test.deaf-plain")
    await tried.begun()
    while len(pool._children) < 2:
        await asyncio.sleep(0.01)
    pids = [child.pid for child in pool._children]
    print("children", *pids, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def test_children_end_with_their_parent() -> None:
    """A server that is killed with SIGKILL leaves no process behind, busy or idle."""
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    with running([sys.executable, "-c", ORPHANS], cwd=root, env=env) as parent:
        pids = [int(pid) for pid in parent.wait_for_output(r"^children (.*)$")[1].split()]
        parent.send(signal.SIGKILL)
        parent.wait()
        wait_until(gone(pids))


def gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(map(alive, pids))


async def test_artifacts_come_out_of_a_process(pool: Pool, tmp_path: Path) -> None:
    """Its bytes travel as a file; the call returns once they are stored, and nothing of them stays behind."""
    tried = await begin(pool, "test.files-plain", {"path": str(tmp_path / "notes")})
    assert await tried.end() == Done(None)
    assert tried.desk.artifacts == {
        "from-file.txt": (NOTES, "text/plain"),
        "from-bytes": (NOTES, "text/x-notes; charset=utf-8"),
    }
    (child,) = pool._children
    assert await asyncio.to_thread(os.listdir, child.scratch) == []
    await pool.close()
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(os.listdir, child.scratch)


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (JobFailed("FULL", "No room", retry=False), Failed("FULL", "No room", retry=False)),
        (JobStopped(), Stopped()),
        (RuntimeError("password=hunter2"), Failed("JOB_FAILED", "The job failed")),
    ],
)
async def test_artifacts_that_are_refused(
    pool: Pool, tmp_path: Path, fault: BaseException, outcome: Outcome
) -> None:
    """The job hears of it where it made the artifact, and of a fault of ours nothing but that there was one."""

    def refuse(_: str) -> None:
        raise fault

    tried = Tried()
    tried.desk.refuse = refuse
    kind = KINDS.get("test.files-plain")
    assert kind is not None
    run = Run("job", kind.name, 1, kind.target, {"path": str(tmp_path / "notes")}, NOTHING.to_json())
    tried.execution = pool.begin(run, tried.desk)
    ended = await tried.end()
    assert (replace(ended, detail=None) if isinstance(ended, Failed) else ended) == outcome


async def test_a_process_that_waits_for_children(pool: Pool) -> None:
    """Its wishes come up the pipe, and it is free for the next job."""
    outcome = await run(pool, "test.sum-plain", {"numbers": [1, 2]})
    assert isinstance(outcome, Waits)
    assert [wish.payload for wish in outcome.wishes] == [{"value": 1}, {"value": 2}]
    assert isinstance(await run(pool, "test.plain"), Done)
