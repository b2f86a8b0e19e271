"""How attempts end: what a return value and an exception mean."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel

from tidings.jobs.context import JobCancelled, JobFailed
from tidings.jobs.outcome import RESULT_MAX_BYTES, Done, Failed, Stopped, done, fallen


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
    """What JSON has no word for is an error of the job."""
    with pytest.raises(TypeError):
        done(value)


def test_results_are_bounded() -> None:
    """A result is stored and sent with its job, so it is no place for megabytes."""
    assert done("x" * (RESULT_MAX_BYTES - 2)) is not None
    with pytest.raises(ValueError, match="over"):
        done("x" * RESULT_MAX_BYTES)


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
