"""How attempts end: what a return value and an exception mean."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from tidings.jobs.children import Wish
from tidings.jobs.context import JobCancelled, JobFailed, JobTimedOut, JobWaits
from tidings.jobs.outcome import (
    RESULT_MAX_BYTES,
    RESULT_MAX_DEPTH,
    Done,
    Failed,
    Outcome,
    Stopped,
    Waits,
    done,
    fallen,
)


class Song(BaseModel):
    title: str
    made: datetime


@pytest.mark.parametrize("value", [None, True, 3, 0.5, "text", [1, [2]], {"a": {"b": None}}])
def test_json_values_are_results(value: Any) -> None:
    """A job returns any JSON value."""
    assert done(value) == Done(value)


def test_models_are_results() -> None:
    """A pydantic model, even deep inside, is the JSON that it stands for."""
    song = Song(title="Loss", made=datetime(2026, 1, 31, tzinfo=UTC))
    assert done({"songs": [song]}) == Done({"songs": [{"title": "Loss", "made": "2026-01-31T00:00:00Z"}]})


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", "\ud800", {"a": lambda: 0}])
def test_other_values_are_not(value: object) -> None:
    """What JSON has no word for fails the job for good; what it was is for the log."""
    refused = done(value)
    assert isinstance(refused, Failed)
    assert (refused.code, refused.retry) == ("RESULT_REFUSED", False)
    assert refused.message == "The job's result is no JSON value"
    assert "TypeError" in (refused.detail or "") or "JSONEncodeError" in (refused.detail or "")


def test_results_are_bounded() -> None:
    """A result is stored and sent with its job, so it is no place for megabytes."""
    assert isinstance(done("x" * (RESULT_MAX_BYTES - 2)), Done)
    message = f"The job's result is over {RESULT_MAX_BYTES} bytes"
    assert done("x" * RESULT_MAX_BYTES) == Failed("RESULT_REFUSED", message, retry=False)


def nested(levels: int) -> object:
    value: object = "[[{"
    for n in range(levels):
        value = [value] if n % 2 else {"a": value}
    return value


def test_results_are_not_endlessly_deep() -> None:
    """What is sent back is wrapped in more JSON, and what is deeper than a payload may be fits no payload."""
    assert isinstance(done(nested(RESULT_MAX_DEPTH)), Done)
    message = f"The job's result is nested deeper than {RESULT_MAX_DEPTH} levels"
    assert done(nested(RESULT_MAX_DEPTH + 1)) == Failed("RESULT_REFUSED", message, retry=False)
    assert isinstance(done(nested(5000)), Failed)


def test_a_failure_on_purpose_is_shown() -> None:
    """What a job raises to be seen is seen."""
    assert fallen(JobFailed("NO_FUNDS", "Pay first", retry=False)) == Failed(
        "NO_FUNDS", "Pay first", retry=False
    )


def test_an_accident_is_not_shown() -> None:
    """No stack trace, path or library name reaches a client; the detail goes to the log."""
    outcome = fallen(RuntimeError("password=hunter2"))
    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.message, outcome.retry) == ("JOB_FAILED", "The job failed", True)
    assert outcome.detail is not None
    assert "password=hunter2" in outcome.detail


def test_to_end_when_asked_is_no_failure() -> None:
    """Code that lets `JobCancelled` through has done as it should."""
    assert fallen(JobCancelled()) == Stopped()


WISH = Wish("a:1", "kind", {}, 1.0)
WAIT, LONGER = JobWaits((), 0.5), JobWaits((WISH,), 0.9)
REFUSAL = JobFailed("FULL", "No room", retry=False)


@pytest.mark.parametrize(
    ("within", "outcome"),
    [
        ([ValueError(), WAIT], Waits((), 0.5)),
        ([WAIT, LONGER, WAIT], Waits((WISH,), 0.9)),
        ([REFUSAL, JobTimedOut(), WAIT], Waits((), 0.5)),
        ([REFUSAL, JobTimedOut()], Stopped()),
        ([ValueError(), BaseExceptionGroup("inner", [KeyError(), JobCancelled()])], Stopped()),
        (
            [ValueError(), ExceptionGroup("inner", [REFUSAL]), JobFailed("OTHER", "Other")],
            Failed("FULL", "No room", False),
        ),
    ],
)
def test_a_group_is_what_it_holds(within: list[BaseException], outcome: Outcome) -> None:
    """A `TaskGroup` wraps what its tasks raise: what was raised to be understood is understood within it."""
    assert fallen(BaseExceptionGroup("group", within)) == outcome


def test_a_group_of_accidents_is_one() -> None:
    """Of whatever class: the job failed, and the log has each of them."""
    outcome = fallen(BaseExceptionGroup("group", [ValueError("one"), BaseException("two"), SystemExit(3)]))
    assert isinstance(outcome, Failed)
    assert outcome.code == "JOB_FAILED"
    assert all(text in (outcome.detail or "") for text in ("one", "two", "SystemExit"))


def test_a_traceback_can_be_written() -> None:
    """Text that is no Unicode does not keep the failure from coming up the pipe."""
    outcome = fallen(ValueError("\ud800"))
    assert isinstance(outcome, Failed)
    assert (outcome.detail or "").encode()
