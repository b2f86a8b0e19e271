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
