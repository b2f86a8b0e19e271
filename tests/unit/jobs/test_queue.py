"""The rules between one attempt and the next."""

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.job_records import a_job
from tidings.jobs.outcome import WORKER_LOST, Cancelled, Done, Failed, HandedBack, Verdict
from tidings.jobs.queue import BACKOFF_CAP, Ended, backoff, utc_now


@given(st.integers(1, 1000), st.floats(0, 1))
def test_backoff_is_bounded(attempt: int, chance: float) -> None:
    """Exponential backoff with jitter: never negative, never above the cap, however often it failed."""
    assert 0 <= backoff(attempt, lambda: chance) <= BACKOFF_CAP


def test_backoff_doubles() -> None:
    """The longest wait doubles with each attempt, up to the cap; the shortest is none."""
    assert [backoff(attempt, lambda: 1.0) for attempt in (1, 2, 3, 4, 5, 6, 7)] == [1, 2, 4, 8, 16, 30, 30]
    assert backoff(5, lambda: 0.0) == 0


@pytest.mark.parametrize(
    ("verdict", "attempt", "again"),
    [
        (Failed(), 1, True),
        (Failed(), 2, True),
        (Failed(), 3, False),
        (WORKER_LOST, 2, True),
        (Failed("NO", "no", retry=False), 1, False),
        (Done(None), 1, False),
        (Cancelled(), 1, False),
        (HandedBack(), 1, False),
    ],
)
def test_who_tries_again(verdict: Verdict, attempt: int, *, again: bool) -> None:
    """Default 3 attempts: what failed is tried again until they are spent, unless it says not to."""
    assert Ended(a_job("test.noop", attempt=attempt), verdict).again is again


def test_moments_are_as_they_are_stored() -> None:
    """Whole milliseconds, UTC: what is told and what is stored are the same moment."""
    now = utc_now()
    assert now.tzinfo is UTC
    assert now.microsecond % 1000 == 0
