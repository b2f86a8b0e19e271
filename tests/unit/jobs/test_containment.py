"""What ends programs does not leave a job's tasks, on either event loop; other tasks are as they were."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from tidings.jobs import containment
from tidings.jobs.containment import Escaped, contain

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
Loop = Callable[[], asyncio.AbstractEventLoop]


async def leave(fault: BaseException) -> None:
    await asyncio.sleep(0)
    raise fault


async def leave_when_cancelled() -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise SystemExit(3) from None


@LOOPS
@pytest.mark.parametrize("fault", [SystemExit(3), KeyboardInterrupt()])
def test_a_jobs_task_does_not_end_the_loop(loop: Loop, fault: BaseException) -> None:
    """`sys.exit` in a task that a job has made fails that task."""

    async def job() -> BaseException | None:
        contain(asyncio.get_running_loop())
        containment.enter()
        (raised,) = await asyncio.gather(leave(fault), return_exceptions=True)
        return raised

    with asyncio.Runner(loop_factory=loop) as runner:
        raised = runner.run(job())
    assert isinstance(raised, Escaped)
    assert raised.__cause__ is fault


@LOOPS
def test_nor_one_that_is_cancelled(loop: Loop) -> None:
    """The same while it puts something away."""

    async def job() -> None:
        contain(asyncio.get_running_loop())
        containment.enter()
        task = asyncio.create_task(leave_when_cancelled(), name="below")
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(Escaped, match="SystemExit"):
            await task
        assert "leave_when_cancelled" in repr(task)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(job())


@LOOPS
def test_results_and_cancellation_are_the_tasks_own(loop: Loop) -> None:
    """A contained task returns, fails and is cancelled as any other; one that never began leaves no warning."""

    async def job() -> None:
        contain(asyncio.get_running_loop())
        containment.enter()
        assert await asyncio.create_task(asyncio.sleep(0, "result")) == "result"
        with pytest.raises(ValueError, match="text"):
            await asyncio.create_task(leave(ValueError("text")))
        never = asyncio.create_task(leave(ValueError()))
        never.cancel()
        await asyncio.wait([never])
        assert never.cancelled()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(job())


def test_other_tasks_end_the_program() -> None:
    """What is no job's is left as it is."""

    async def main() -> None:
        contain(asyncio.get_running_loop())
        await asyncio.create_task(leave(SystemExit(3)))

    with pytest.raises(SystemExit), asyncio.Runner() as runner:
        runner.run(main())
