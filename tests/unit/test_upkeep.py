"""Loops of the node that do not end, whatever happens in them."""

import asyncio

import pytest

from tidings import metrics, upkeep
from tidings.upkeep import kept_running


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "PAUSE_SECONDS", (0.001, 0.004))


class Loop:
    """Fails so often, then runs until it is cancelled, and says so."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.begun = 0
        self.running = asyncio.Event()
        self.ended = asyncio.Event()

    async def run(self) -> None:
        self.begun += 1
        if self.begun <= self.failures:
            raise RuntimeError(f"fault {self.begun}")
        self.running.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()


async def test_a_fault_is_counted_and_the_loop_begins_anew() -> None:
    """As often as it takes; it ends with the block."""
    loop = Loop(failures=4)
    failed = metrics.loop_failures.labels("Loop.run")
    before = failed._value.get()
    async with kept_running(loop.run):
        await asyncio.wait_for(loop.running.wait(), 5)
    assert loop.ended.is_set()
    assert loop.begun == 5
    assert failed._value.get() - before == 4


async def test_a_loop_that_is_done_is_left_at_that() -> None:
    """A worker that was drained returns."""
    begun = 0
    done = asyncio.Event()

    async def once() -> None:
        nonlocal begun
        begun += 1
        done.set()

    async with kept_running(once):
        await asyncio.wait_for(done.wait(), 5)
        await asyncio.sleep(0.02)
    assert begun == 1


async def test_a_fault_at_the_end_does_not_begin_anew() -> None:
    """What fails while it is being ended stays ended, and is told to whoever ends it."""
    running = asyncio.Event()

    async def faulty() -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise RuntimeError("at the end")

    with pytest.raises(RuntimeError, match="at the end"):
        async with kept_running(faulty):
            await running.wait()
