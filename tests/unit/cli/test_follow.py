"""Following a job through streams that break."""

import pytest

from tests.support.scripted_server import ScriptedServer, answer, job_event, problem, scripted, stream
from tidings.cli import follow as following
from tidings.cli.exits import Exit, Failure
from tidings.cli.follow import follow, wait
from tidings.cli.remote import Remote


class Watch:
    """Follows a job on a scripted server, without waiting: ``pauses`` are what it would have waited."""

    def __init__(self, *answers: bytes) -> None:
        self.answers = answers
        self.pauses: list[float] = []
        self.said: list[str] = []
        self.server: ScriptedServer | None = None

    def types(self) -> list[str]:
        with scripted(self.answers) as self.server, Remote(self.server.url, lambda: "t") as remote:
            return [
                line["type"] for line in follow(remote, "j-1", self.said.append, pause=self.pauses.append)
            ]

    def fails(self) -> Failure:
        with pytest.raises(Failure) as caught:
            self.types()
        return caught.value

    @property
    def resumed_at(self) -> list[str]:
        assert self.server is not None
        return [asked.headers.get("last-event-id", "") for asked in self.server.asked]


def test_to_the_end() -> None:
    """Contract 5: each event, and after the terminal one the stream ends."""
    watch = Watch(stream(job_event("1", "snapshot"), job_event("2", "progress"), job_event("3", "completed")))
    assert watch.types() == ["snapshot", "progress", "completed"]
    assert (watch.pauses, watch.said) == ([], [])


def test_resumes_where_it_broke() -> None:
    """Contract 5: ``Last-Event-ID`` resumes. What was cut off in the middle comes again, nothing comes twice."""
    watch = Watch(
        stream(job_event("1", "snapshot"), job_event("2", "progress")[:-10]),
        b"",
        stream(job_event("2", "progress"), job_event("3", "failed")),
    )
    assert watch.types() == ["snapshot", "progress", "failed"]
    assert watch.resumed_at == ["", "1", "1"]
    assert len(watch.pauses) == 2


@pytest.mark.parametrize(
    "passing", [problem(503, "UNAVAILABLE"), problem(429, "RATE_LIMITED"), answer(502, "x")]
)
def test_what_passes_is_borne_with(passing: bytes) -> None:
    """A server that starts again says 503 for a while, and a proxy before it 502."""
    watch = Watch(stream(job_event("1", "started")), passing, stream(job_event("2", "cancelled")))
    assert watch.types() == ["started", "cancelled"]


def test_an_outage_is_told_once() -> None:
    """Who watches is told when the server is gone and when it is back, however often it was tried."""
    watch = Watch(
        stream(job_event("1", "started")),
        *[problem(503, "UNAVAILABLE")] * 3,
        stream(job_event("2", "progress")),
        b"",
        stream(job_event("3", "completed")),
    )
    assert watch.types() == ["started", "progress", "completed"]
    assert watch.said == 2 * ["The server does not answer: trying again.", "The server answers again."]


def test_a_job_of_any_name() -> None:
    """What was typed is one segment of the path, whatever it holds."""
    with scripted([problem(404, "NOT_FOUND")]) as server, Remote(server.url, lambda: "t") as remote:
        with pytest.raises(Failure):
            list(follow(remote, "../x?y", print))
        assert server.asked[0].path == "/jobs/..%2Fx%3Fy/events"


def test_what_does_not_pass_ends_it() -> None:
    """A token that was revoked meanwhile is not tried again."""
    watch = Watch(stream(job_event("1", "started")), problem(401, "UNAUTHENTICATED"))
    assert watch.fails().end is Exit.NOT_ALLOWED


def test_nothing_to_begin_with() -> None:
    """Before the first event nothing is borne with: who mistyped the address hears of it at once."""
    watch = Watch(problem(503, "UNAVAILABLE"))
    assert watch.fails().end is Exit.UNAVAILABLE
    assert watch.pauses == []


def test_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that stays away is given up after so many attempts in a row."""
    monkeypatch.setattr(following, "MOST_FAILURES", 3)
    watch = Watch(stream(job_event("1", "started")), *[problem(503, "UNAVAILABLE")] * 9)
    assert watch.fails().end is Exit.UNAVAILABLE
    assert len(watch.resumed_at) == 4


def test_all_was_seen() -> None:
    """Contract 5: a reconnect gets 204; a fresh GET of a finished job gives its terminal state as one event."""
    watch = Watch(stream(job_event("1", "started")), answer(204), stream(job_event("2", "completed")))
    assert watch.types() == ["started", "completed"]
    assert watch.resumed_at == ["", "1", ""]


def test_no_tidings_stream() -> None:
    """A stream of something else is no job."""
    assert Watch(stream(b"data: [1]\n\n")).fails().end is Exit.PROTOCOL


def test_waits_longer_and_longer() -> None:
    """From the time the server names, doubling up to five seconds, never quite the same."""
    watch = Watch(
        stream(b"retry: 100\n\n", job_event("1", "started")), b"", b"", stream(job_event("2", "completed"))
    )
    watch.types()
    for pause, longest in zip(watch.pauses, (0.1, 0.2, 0.4), strict=True):
        assert longest / 2 <= pause <= longest
    assert 2.5 <= wait(1000, 1.0) <= 5.0
