"""How often reports are told: all of them within reason, and of a flood the newest."""

import asyncio

import pytest

from tidings import metrics
from tidings.jobs import throttle as module
from tidings.jobs.throttle import BURST, EACH_SECONDS, Throttle


class Code:
    """Running code: ``now`` is how far it is, ``told`` what was told of it."""

    def __init__(self) -> None:
        self.now = 0
        self.told: list[int] = []
        self.throttle = Throttle(lambda: self.told.append(self.now))

    def report(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1
            self.throttle.report()


def conflated() -> float:
    sample = metrics.REGISTRY.get_sample_value("tidings_progress_dropped_total", {"reason": "conflated"})
    return sample or 0.0


async def test_a_burst_is_told_whole() -> None:
    """Contract, section 11: "a progress event a step", as many as `demo.steps` takes, without a delay."""
    code = Code()
    code.report(BURST)
    code.throttle.flush()
    assert code.told == list(range(1, BURST + 1))


async def test_a_flood_is_told_by_its_newest() -> None:
    """What is replaced is counted; the last is told before the end."""
    code, before = Code(), conflated()
    code.report(20 * BURST)
    code.throttle.flush()
    assert code.told[:BURST] == list(range(1, BURST + 1))
    assert code.told[-1] == code.now
    assert len(code.told) + conflated() - before == code.now


async def test_what_waits_is_told_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that reports no more does not have to end for its last report to be told."""
    monkeypatch.setattr(module, "BURST", 2)
    code = Code()
    code.report(5)
    async with asyncio.timeout(10):
        while code.told != [1, 2, 5]:  # noqa: ASYNC110  the throttle's call-back is synchronous
            await asyncio.sleep(EACH_SECONDS)


async def test_what_is_dropped_is_not_told() -> None:
    """Of a job that another worker has by now, nothing more is said."""
    code = Code()
    code.report(2 * BURST)
    told = len(code.told)
    code.throttle.drop()
    code.throttle.flush()
    assert len(code.told) == told
