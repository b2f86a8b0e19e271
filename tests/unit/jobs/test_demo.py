"""``demo.steps``, its payload and its steps; that it kills itself for real is in the contract tests."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from tidings.artifacts.base import Source
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.jobs import demo
from tidings.jobs.context import JobContext, JobFailed, Stop
from tidings.jobs.demo import Steps
from tidings.jobs.kinds import Kind, Registry


@dataclass
class Told:
    """A ``Link`` that takes down what it is told."""

    messages: list[tuple[float, str | None]] = field(default_factory=list)

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        self.messages.append((fraction, message))

    async def attach(self, name: str, source: Source, media_type: str) -> None:
        raise AssertionError("it makes nothing")

    def stop(self) -> Stop | None:
        return None


@pytest.fixture
def kind() -> Kind:
    registry = Registry()
    demo.register(registry)
    [kind] = registry
    return kind


def steps(kind: Kind, **payload: Any) -> Steps:
    parsed = kind.parse({"steps": 3, "delayMs": 0, **payload})
    assert isinstance(parsed, Steps)
    return parsed


def test_it_is_a_plain_function(kind: Kind) -> None:
    """`demo.steps`: a plain function."""
    assert (kind.name, kind.plain) == ("demo.steps", True)


def test_a_report_each_step(kind: Kind) -> None:
    """A progress event a step (`progress` i/steps, message `step i of n`)."""
    told = Told()
    assert demo.run(JobContext("id", "demo.steps", 1, told), steps(kind)) == {"steps": 3}
    assert told.messages == [(1 / 3, "step 1 of 3"), (2 / 3, "step 2 of 3"), (1.0, "step 3 of 3")]


@pytest.mark.parametrize(
    ("fail_times", "attempt", "fails"),
    [(None, 1, True), (None, 9, True), (2, 1, True), (2, 2, True), (2, 3, False), (0, 1, False)],
)
def test_it_fails_where_it_is_told(kind: Kind, fail_times: int | None, attempt: int, *, fails: bool) -> None:
    """Fails at `failAt` in the first `failTimes` attempts (all, if left out)."""
    told = Told()
    payload = steps(kind, failAt=2, **({} if fail_times is None else {"failTimes": fail_times}))
    ctx = JobContext("id", "demo.steps", attempt, told)
    if fails:
        with pytest.raises(JobFailed, match="step 2 of 3"):
            demo.run(ctx, payload)
    else:
        demo.run(ctx, payload)
    assert len(told.messages) == (1 if fails else 3)


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ({"delayMs": 0}, "payload.steps"),
        ({"steps": 1}, "payload.delayMs"),
        ({"steps": 0, "delayMs": 0}, "payload.steps"),
        ({"steps": 1001, "delayMs": 0}, "payload.steps"),
        ({"steps": True, "delayMs": 0}, "payload.steps"),
        ({"steps": 1.5, "delayMs": 0}, "payload.steps"),
        ({"steps": "1", "delayMs": 0}, "payload.steps"),
        ({"steps": 1, "delayMs": -1}, "payload.delayMs"),
        ({"steps": 1, "delayMs": 60_001}, "payload.delayMs"),
        ({"steps": 1, "delayMs": 0, "delay_ms": 0}, "payload.delay_ms"),
        ({"steps": 1, "delayMs": 0, "failAt": 0}, "payload.failAt"),
        ({"steps": 1, "delayMs": 0, "exitAt": 0}, "payload.exitAt"),
        ({"steps": 1, "delayMs": 0, "failTimes": -1}, "payload.failTimes"),
        ({"steps": 1, "delayMs": 0, "more": 1}, "payload.more"),
    ],
)
def test_its_payload_is_checked(kind: Kind, payload: dict[str, Any], field: str) -> None:
    """Unknown JSON fields are refused on input, and so is what is out of range."""
    with pytest.raises(TidingsError) as caught:
        kind.parse(payload)
    assert caught.value.code is ErrorCode.VALIDATION_FAILED
    assert [fault.field for fault in caught.value.fields] == [field]
