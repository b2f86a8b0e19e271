"""``tidings jobs``: handing in and watching, and how each end is told."""

import json

import pytest

from tests.support.scripted_server import answer, job_event, problem, scripted, stream
from tests.support.terminal import Terminal
from tidings.cli.exits import Exit
from tidings.cli.follow import Line

JOB = {"id": "j-1", "kind": "demo.steps", "status": "queued"}


def test_run(terminal: Terminal) -> None:
    """The job's id for people, the job for programs; what was asked for reaches the server."""
    with scripted([answer(202, JOB)] * 2) as server:
        words = ("jobs", "run", "demo.steps", "--url", server.url, "--token", "t")
        assert terminal.run(*words).stdout == "j-1\n"
        done = terminal.run(*words, "--json", "--priority", "pro", "--payload", '{"steps": 3}')
    assert json.loads(done.stdout) == JOB
    first, second = (json.loads(asked.body) for asked in server.asked)
    assert first == {"kind": "demo.steps", "payload": {}, "priority": "standard"}
    assert second == {"kind": "demo.steps", "payload": {"steps": 3}, "priority": "pro"}


def test_run_later(terminal: Terminal) -> None:
    """``--delay`` is asked for in seconds."""
    with scripted([answer(202, JOB)]) as server:
        terminal.run("jobs", "run", "x", "--delay", "90", "--url", server.url, "--token", "t")
    assert json.loads(server.asked[0].body)["delaySeconds"] == 90


def test_run_elsewhere(terminal: Terminal) -> None:
    """The token of an external job's reporter is shown, the one time there is."""
    with scripted([answer(202, {**JOB, "reporterToken": "reporter_7"})]) as server:
        done = terminal.run("jobs", "run", "external", "--url", server.url, "--token", "t")
    assert done.stdout == "j-1\n"
    assert "reporter_7" in done.stderr


def a_job(name: str, **more: object) -> dict[str, object]:
    return {
        "id": name,
        "kind": "demo.steps",
        "status": "failed",
        "progress": 0.5,
        "payload": {"steps": 3},
        "error": {"code": "OOPS", "message": "no\x1b[2J"},
        "parentId": None,
        "artifacts": [],
        "createdAt": "2026-01-31T12:00:00.000Z",
        **more,
    }


def page(*names: str, cursor: str | None = None) -> bytes:
    return answer(200, {"items": [a_job(name) for name in names], "nextCursor": cursor})


def at(url: str) -> tuple[str, ...]:
    return "--url", url, "--token", "t"


def test_list(terminal: Terminal) -> None:
    """Page after page up to the limit, a line each; what is asked for is left to the server."""
    first = [f"j-{number}" for number in range(100)]
    with scripted([page(*first, cursor="c/1"), page("j-100", "j-101")]) as server:
        done = terminal.run(
            "jobs", "list", "--status", "failed", "--kind", "a b", "--limit", "102", *at(server.url)
        )
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert len(lines) == 102
    assert lines[0] == "j-0  failed      50%  2026-01-31T12:00:00.000Z  demo.steps  OOPS: no[2J"
    assert [asked.path for asked in server.asked] == [
        "/jobs?status=failed&kind=a+b&limit=100",
        "/jobs?status=failed&kind=a+b&limit=2&cursor=c%2F1",
    ]


def test_list_json(terminal: Terminal) -> None:
    """A job a line, and no line where there is none."""
    with scripted([page("j-1", "j-2"), page()]) as server:
        done = terminal.run("jobs", "list", "--json", *at(server.url))
        assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["j-1", "j-2"]
        assert terminal.run("jobs", "list", "--json", *at(server.url)).stdout == ""


def test_show(terminal: Terminal) -> None:
    """What there is of a job, a field a line; as JSON just as the server wrote it."""
    with scripted([answer(200, a_job("j-1"))] * 2) as server:
        told = terminal.run("jobs", "show", "j-1", *at(server.url)).stdout
        whole = terminal.run("jobs", "show", "j-1", "--json", *at(server.url)).stdout
    assert 'payload      {"steps":3}\n' in told
    assert "status       failed\n" in told
    assert "\x1b" not in told
    assert "parentId" not in told
    assert json.loads(whole) == a_job("j-1")
    assert server.asked[0].path == "/jobs/j-1"


def test_cancel(terminal: Terminal) -> None:
    """Each job that is named, as it then stands."""
    with scripted([answer(202, a_job(name, status="cancelled", error=None)) for name in "ab"]) as server:
        done = terminal.run("jobs", "cancel", "a", "b", *at(server.url))
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [["a", "cancelled"], ["b", "cancelled"]]
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/jobs/a/cancel"),
        ("POST", "/jobs/b/cancel"),
    ]


def test_retry_some(terminal: Terminal) -> None:
    """One that cannot be tried again is told of, the others are, and the exit code tells."""
    answers = [answer(202, a_job("a")), problem(409, "CONFLICT"), answer(202, a_job("c"))]
    with scripted(answers) as server:
        done = terminal.run("jobs", "retry", "a", "b", "c", "--json", *at(server.url))
    assert done.exit_code == Exit.CONFLICT.number
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == ["a", "c"]
    assert done.stderr.startswith("tidings: b: Conflict (CONFLICT)")


@pytest.mark.parametrize("words", [["--yes"], []])
def test_retry_all_failed(terminal: Terminal, words: list[str]) -> None:
    """The dead letters of a kind, once it is certain that they are meant; children are their parents'."""
    items = [a_job("a"), a_job("b", parentId="a"), a_job("c")]
    listing = answer(200, {"items": items, "nextCursor": None})
    with scripted([listing, answer(202, a_job("a")), answer(202, a_job("c"))]) as server:
        asked = ["--all-failed", "--kind", "k", *words, *at(server.url)]
        done = terminal.run("jobs", "retry", *asked, stdin="y\n")
    assert done.exit_code == 0
    assert ("Run 2 failed jobs again? [y/N]" in done.stderr) is (not words)
    assert [one.path for one in server.asked] == [
        "/jobs?status=failed&kind=k&limit=100",
        "/jobs/a/retry",
        "/jobs/c/retry",
    ]


@pytest.mark.parametrize(("stdin", "end"), [("n\n", Exit.OK), ("\n", Exit.OK), ("", Exit.USAGE)])
def test_retry_needs_a_yes(terminal: Terminal, stdin: str, end: Exit) -> None:
    """Everything but yes is no, and a script that cannot answer is told how to."""
    with scripted([page("a")]) as server:
        done = terminal.run("jobs", "retry", "--all-failed", *at(server.url), stdin=stdin)
    assert done.exit_code == end.number
    assert len(server.asked) == 1


def test_no_dead_letters(terminal: Terminal) -> None:
    """Nothing to do is nothing to ask about."""
    with scripted([page()]) as server:
        done = terminal.run("jobs", "retry", "--all-failed", *at(server.url))
    assert (done.exit_code, done.stderr) == (0, "No job has failed.\n")


@pytest.mark.parametrize("words", [[], ["a", "--all-failed"], ["a", "--kind", "k"]])
def test_retry_of_what(terminal: Terminal, words: list[str]) -> None:
    """Jobs by name, or all that failed, and never both by accident."""
    assert terminal.run("jobs", "retry", *words, *at("http://x")).exit_code == Exit.USAGE.number


def test_payload_from_elsewhere(terminal: Terminal) -> None:
    """``@FILE`` reads a file and ``-`` reads stdin."""
    (terminal.folder / "in.json").write_text('{"from": "file"}')
    with scripted([answer(202, JOB)] * 2) as server:
        words = ("jobs", "run", "demo.steps", "--url", server.url, "--token", "t", "--payload")
        terminal.run(*words, "@in.json")
        terminal.run(*words, "-", stdin='{"from": "stdin"}')
    assert [json.loads(asked.body)["payload"]["from"] for asked in server.asked] == ["file", "stdin"]


@pytest.mark.parametrize(
    ("payload", "end"), [("{", Exit.REFUSED), ('{"a":1,"a":2}', Exit.REFUSED), ("@gone.json", Exit.NOT_FOUND)]
)
def test_payload_that_is_none(terminal: Terminal, payload: str, end: Exit) -> None:
    """What is no JSON, or no file, never leaves the terminal."""
    done = terminal.run("jobs", "run", "x", "--url", "http://x", "--token", "t", "--payload", payload)
    assert done.exit_code == end.number
    assert done.stderr.startswith("tidings: --payload: ")


@pytest.mark.parametrize(
    ("kind", "end"),
    [("completed", Exit.OK), ("failed", Exit.JOB_FAILED), ("cancelled", Exit.JOB_CANCELLED)],
)
def test_watch_ends_as_the_job_does(terminal: Terminal, kind: str, end: Exit) -> None:
    """Exit code 0 for a job that succeeded, codes of their own for the other two ends."""
    with scripted([stream(job_event("1", "started"), job_event("2", kind, message="so it was"))]) as server:
        done = terminal.run("jobs", "watch", "j-1", "--url", server.url, "--token", "t")
    assert done.exit_code == end.number
    assert done.stdout.endswith(": so it was\n")
    assert server.asked[0].path == "/jobs/j-1/events"


def test_watch_json(terminal: Terminal) -> None:
    """``--json`` prints each event as a line, just as the server wrote it."""
    events = [job_event("1", "snapshot", resumed=False), job_event("2", "completed", progress=1.0)]
    with scripted([answer(202, JOB), stream(*events)]) as server:
        done = terminal.run("jobs", "run", "x", "--watch", "--json", "--url", server.url, "--token", "t")
    job, snapshot, completed = map(json.loads, done.stdout.splitlines())
    assert job == JOB
    assert (snapshot["type"], snapshot["resumed"]) == ("snapshot", False)
    assert (completed["type"], completed["progress"]) == ("completed", 1.0)


def test_watch_what_is_not_there(terminal: Terminal) -> None:
    """Somebody else's job is told as one that is not there, without a bar before it."""
    with scripted([problem(404, "NOT_FOUND")]) as server:
        done = terminal.run("jobs", "watch", "j-1", "--url", server.url, "--token", "t")
    assert done.exit_code == Exit.NOT_FOUND.number
    assert done.stderr == "tidings: Not Found (NOT_FOUND)\n  requestId: r-1\n"


def test_ctrl_c(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends the watching, not the job, and says how to go on."""

    def interrupted(*_: object) -> Line:
        raise KeyboardInterrupt

    monkeypatch.setattr("tidings.cli.jobs._print", interrupted)
    done = terminal.run("jobs", "watch", "j-1", "--json", "--url", "http://x", "--token", "t")
    assert done.exit_code == Exit.INTERRUPTED.number
    assert done.stderr == "The job goes on. To see the rest: tidings jobs watch j-1\n"
