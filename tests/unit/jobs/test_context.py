"""What a job's code holds: reporting, and hearing that it should end."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.artifacts.base import Source
from tidings.jobs.children import Known, Memory
from tidings.jobs.context import (
    ChildFailed,
    JobCancelled,
    JobContext,
    JobFailed,
    JobStopped,
    JobTimedOut,
    JobWaits,
    Stop,
    shown,
)


@dataclass
class FakeLink:
    """A ``Link`` with nothing at the other end."""

    why: Stop | None = None
    reports: list[tuple[float, str | None, str | None]] = field(default_factory=list)
    artifacts: list[tuple[str, Source, str]] = field(default_factory=list)

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        self.reports.append((fraction, message, stage))

    async def attach(self, name: str, source: Source, media_type: str) -> None:
        self.artifacts.append((name, source, media_type))

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


async def test_artifacts_are_handed_on(ctx: JobContext, link: FakeLink, tmp_path: Path) -> None:
    """Bytes or a file; the media type is the one given, or guessed from the name."""
    file = tmp_path / "take.bin"
    file.touch()
    await ctx.artifact("a.json", b"{}")
    await ctx.artifact("b", file, "audio/wav; rate=48000")
    await ctx.artifact("c", b"")
    assert link.artifacts == [
        ("a.json", b"{}", "application/json"),
        ("b", file, "audio/wav; rate=48000"),
        ("c", b"", "application/octet-stream"),
    ]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "..", "a b", "ä", "a\n", "n" * 101])
async def test_names_of_artifacts(ctx: JobContext, link: FakeLink, name: str) -> None:
    """Names: [A-Za-z0-9._-], 1 to 100, no leading dot; anything else is found where it is written."""
    with pytest.raises(ValueError, match="name"):
        await ctx.artifact(name, b"")
    assert link.artifacts == []


@pytest.mark.parametrize("media_type", ["text", "text/", "text/plain\r\nX: y", "a/b; c", 'a/b; c="d"'])
async def test_media_types(ctx: JobContext, media_type: str) -> None:
    """What could not stand in a header is refused."""
    with pytest.raises(ValueError, match="media type"):
        await ctx.artifact("a", b"", media_type)


async def test_an_artifact_that_is_no_file(ctx: JobContext, tmp_path: Path) -> None:
    """A path to nothing is an error of the job's, with its own traceback."""
    with pytest.raises(FileNotFoundError):
        await ctx.artifact("a", tmp_path / "missing")


async def test_no_artifacts_of_the_cancelled(link: FakeLink) -> None:
    """Who should end makes no more."""
    link.why = Stop.CANCELLED
    with pytest.raises(JobCancelled):
        await JobContext("id", "kind", 1, link).artifact("a", b"")


def with_children(link: FakeLink, *known: Known, progress: float = 0.0) -> JobContext:
    """A run that goes on after a wait for these."""
    return JobContext("id", "kind", 1, link, Memory(known, resumed=True, progress=progress))


def key_of(ctx: JobContext, name: str) -> str:
    return ctx.child("kind", {"n": name}, name=name).key


def test_children_are_waited_for(ctx: JobContext) -> None:
    """What is not there yet is wished for, all at once, and the job waits."""
    wanted = [ctx.child("a", {"n": 1}), ctx.child("b", weight=2, name="bee")]
    with pytest.raises(JobWaits) as waits:
        ctx.gather(*wanted, until=0.5)
    assert [(wish.kind, wish.payload, wish.weight) for wish in waits.value.wishes] == [
        ("a", {"n": 1}, 1.0),
        ("b", {}, 2),
    ]
    assert waits.value.until == 0.5
    assert [child.label for child in wanted] == ["a", "bee"]


def test_children_that_are_over(ctx: JobContext, link: FakeLink) -> None:
    """After the wait the same children are asked for, and there they are, in the order asked."""
    keys = [key_of(ctx, name) for name in ("one", "two")]
    again = with_children(
        link, *(Known(key, f"job-{n}", over=True, succeeded=True, result=n) for n, key in enumerate(keys))
    )
    one, two = (again.child("kind", {"n": name}, name=name) for name in ("one", "two"))
    assert again.gather(two, one) == [1, 0]
    assert again.gather() == []


def test_a_child_that_failed(ctx: JobContext, link: FakeLink) -> None:
    """It is raised, or given in place of a result to who wants to see for itself."""
    failed = Known(key_of(ctx, "one"), "job-1", over=True, succeeded=False, code="NOPE", message="No")
    again = with_children(link, failed)
    child = again.child("kind", {"n": "one"}, name="one")
    with pytest.raises(ChildFailed) as raised:
        again.gather(child)
    assert (raised.value.label, raised.value.job_id, raised.value.error_code) == ("one", "job-1", "NOPE")
    assert (raised.value.code, raised.value.message, raised.value.retry) == ("CHILD_FAILED", "one: No", False)
    (given,) = again.gather(child, failures=True)
    assert isinstance(given, ChildFailed)


def test_what_was_told_before_the_wait(link: FakeLink) -> None:
    """Progress that was told before is not told again; from there on everything is, back and forth."""
    ctx = with_children(link, progress=0.5)
    for fraction in (0.1, 0.4, 0.5, 0.3):
        ctx.progress(fraction)
    assert [fraction for fraction, _, _ in link.reports] == [0.5, 0.3]


def test_a_cancelled_parent_does_not_wait(link: FakeLink) -> None:
    """Who should end is told so instead of being put to sleep."""
    link.why = Stop.CANCELLED
    ctx = JobContext("id", "kind", 1, link)
    with pytest.raises(JobCancelled):
        ctx.gather(ctx.child("a"))


@pytest.mark.parametrize("until", [-0.1, 1.1, float("nan")])
def test_until_is_a_fraction(ctx: JobContext, until: float) -> None:
    """Like progress itself."""
    with pytest.raises(ValueError, match="fraction"):
        ctx.gather(until=until)
