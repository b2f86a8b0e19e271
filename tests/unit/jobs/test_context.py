"""What a job's code holds: reporting, and hearing that it should end."""

import subprocess
import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.jobs.context import JobCancelled, JobContext, JobFailed, JobStopped, JobTimedOut, Stop, shown


@dataclass
class FakeLink:
    """A ``Link`` with nothing at the other end."""

    why: Stop | None = None
    reports: list[tuple[float, str | None, str | None]] = field(default_factory=list)

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        self.reports.append((fraction, message, stage))

    def stop(self) -> Stop | None:
        return self.why


@pytest.fixture
def link() -> FakeLink:
    return FakeLink()


@pytest.fixture
def ctx(link: FakeLink) -> JobContext:
    return JobContext("id", "kind", 2, link)


def test_it_knows_its_job(ctx: JobContext) -> None:
    """`job_id`, `kind` and `attempt` are there to be read."""
    assert (ctx.job_id, ctx.kind, ctx.attempt) == ("id", "kind", 2)


def test_progress_is_reported(ctx: JobContext, link: FakeLink) -> None:
    """Fraction, message and stage go as they are; the last two may be left out."""
    ctx.progress(0)
    ctx.progress(1, "done", stage="end")
    assert link.reports == [(0.0, None, None), (1.0, "done", "end")]


def test_progress_may_go_back(ctx: JobContext, link: FakeLink) -> None:
    """A job that finds more work than it thought says so."""
    ctx.progress(0.9)
    ctx.progress(0.5)
    assert [fraction for fraction, _, _ in link.reports] == [0.9, 0.5]


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), float("inf"), 100])
def test_no_fractions(ctx: JobContext, link: FakeLink, fraction: float) -> None:
    """`progress` 0..1: a percentage is a mistake that is found at once, and nothing is told."""
    with pytest.raises(ValueError, match="fraction"):
        ctx.progress(fraction)
    assert not link.reports


@pytest.mark.parametrize(
    ("why", "exception"),
    [
        (Stop.CANCELLED, JobCancelled),
        (Stop.TIMED_OUT, JobTimedOut),
        (Stop.LOST, JobStopped),
        (Stop.HANDED_BACK, JobStopped),
    ],
)
def test_it_hears_that_it_should_end(
    ctx: JobContext, link: FakeLink, why: Stop, exception: type[JobStopped]
) -> None:
    """Running code sees a cancel at its next progress report."""
    before = ctx.cancelled
    link.why = why
    assert (before, ctx.cancelled) == (False, True)
    with pytest.raises(exception) as caught:
        ctx.progress(0.5)
    assert type(caught.value) is exception
    assert not link.reports


def test_careless_code_lets_it_through() -> None:
    """`except Exception` around a step of a job does not swallow its cancellation."""
    assert not issubclass(JobStopped, Exception)


def test_messages_are_made_fit_to_show(ctx: JobContext, link: FakeLink) -> None:
    """What no database or client could take is replaced, what is endless is cut."""
    ctx.progress(0.5, "a\0b\ud800" + "c" * 2000, stage="s" * 200)
    [(_, message, stage)] = link.reports
    assert message is not None
    assert message.startswith("a�b?c")
    assert (len(message), stage) == (1000, "s" * 100)


@given(st.text(st.characters(codec=None)))
def test_shown_is_always_storable(text: str) -> None:
    """Whatever a job says can be written as UTF-8 without a NUL; what is harmless stays as it is."""
    result = shown(text)
    assert "\0" not in result.encode().decode()
    assert len(result) == len(text[:1000])


@pytest.mark.parametrize("code", ["", "lower", "WITH SPACE", "1ST", "A" * 65, "A\n"])
def test_codes_are_words(code: str) -> None:
    """An error's code is a word that a program can compare."""
    with pytest.raises(ValueError, match="UPPER_CASE"):
        JobFailed(code, "message")


def test_a_failure_on_purpose() -> None:
    """Its message is shown, so it is made fit for that; it is tried again unless it says otherwise."""
    failure = JobFailed("NO_FUNDS", "no\0", retry=False)
    assert (failure.code, failure.message, failure.retry) == ("NO_FUNDS", "no�", False)
    assert JobFailed("NO_FUNDS", "no").retry


def test_kinds_are_light() -> None:
    """A module with kinds, `from tidings import job, JobContext`, imports neither database nor web server."""
    heavy = ("sqlalchemy", "redis", "fastapi", "uvicorn", "multiprocessing")
    script = f"import sys, tidings; sys.exit([name for name in {heavy} if name in sys.modules] or 0)"
    subprocess.run([sys.executable, "-c", script], check=True)
