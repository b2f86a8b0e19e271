"""The real command in a real terminal, with real servers behind it (contract, section 1)."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scripts.source_tree import ROOT
from tests.support.installed import TIDINGS, Installed
from tests.support.processes import Child, free_port, wait_until
from tidings.cli.exits import Exit
from tidings.domain.ids import new_id

SECRET = "correct-horse-battery-staple-0123456789"
CLIENTS = ROOT / "tests" / "system" / "clients"
SLOW = '{"steps": 40, "delayMs": 100}'


@pytest.fixture
def here(tmp_path: Path) -> Installed:
    """A directory nobody else works in."""
    return Installed(tmp_path)


@contextmanager
def serving(here: Installed, *words: str) -> Iterator[tuple[Child, str]]:
    """A server, and its address as it printed it."""
    with here.start("serve", *words) as server:
        listening = server.wait_for_output(r'"url":"(http://[^"]+)","event":"listening"')
        yield server, listening[1]


def pasteable(server: Child) -> dict[str, str]:
    """The commands that the server printed, by what they show."""
    server.wait_for_output(r"^Ctrl-C stops the server\.$")
    lines = [line.strip() for line in server.output.splitlines() if line.startswith("  ")]
    watch, send, socket, job, stream = (line for line in lines if line.startswith(("curl", "node", "JOB=")))
    return {"watch": watch, "send": send, "socket": socket, "job": f"{job}\n{stream}"}


def test_users_and_tokens(here: Installed, database_url: str) -> None:
    """Contract 1: ``users add`` and ``token`` work on the configured database whether or not a server runs."""
    here.env |= {"TIDINGS_DATABASE_URL": database_url, "TIDINGS_JWT_SECRET": SECRET}
    add = ("users", "add", "ann@acme.example", "--tenant", "acme", "--role", "ADMIN", "--json")
    if database_url.startswith("postgresql"):
        behind = here.run(*add)
        assert (behind.returncode, behind.stdout) == (Exit.OUT_OF_DATE.number, "")
        assert "tidings migrate" in behind.stderr
        assert here.run("serve", "--port", "0").returncode == Exit.OUT_OF_DATE.number
        assert here.run("migrate", "--json").returncode == 0
    added = here.run(*add)
    assert added.returncode == 0, added.stderr
    user = json.loads(added.stdout)
    assert (user["email"], user["role"]) == ("ann@acme.example", "ADMIN")
    assert here.run(*add).returncode == Exit.CONFLICT.number
    token = here.run("token", user["id"])
    assert token.stdout.count(".") == 2
    assert (len(token.stdout.split()), token.stderr) == (1, "")
    with serving(here, "--port", "0") as (_, url):
        bob = json.loads(here.run("users", "add", "bob@acme.example", "--tenant", "acme", "--json").stdout)
        sent = here.run("notify", bob["email"], "Hi", "There", "--as", user["email"], "--url", url, "--json")
        assert json.loads(sent.stdout)["userId"] == bob["id"]


def test_token_starts_quickly(here: Installed) -> None:
    """``tidings token`` loads neither the server nor the HTTP client: it is often called, and by scripts."""
    here.run("users", "add", "ann@acme.example", "--tenant", "acme")
    loaded = imported(here, "token", "ann@acme.example")
    assert "tidings.identity.tokens" in loaded
    assert not loaded & {"starlette", "uvicorn", "redis", "httpx", "rich.progress", "alembic", "tidings.app"}


def test_what_needs_no_database_loads_none(here: Installed) -> None:
    """Whoever has a token waits for neither a database nor a server to be imported."""
    assert "typer" in imported(here, "--version")
    shown = imported(
        here, "jobs", "show", new_id(), "--token", "x", "--url", f"http://127.0.0.1:{free_port()}"
    )
    assert "httpx" in shown
    assert not shown & {"sqlalchemy", "structlog", "starlette", "jwt", "tidings.app"}


def imported(here: Installed, *words: str) -> set[str]:
    """The modules that a command imports."""
    here.env["PYTHONPROFILEIMPORTTIME"] = "1"
    done = here.run(*words)
    return {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}


def test_a_secret_is_made_once(here: Installed) -> None:
    """Contract 1: the HS256 secret; in development made once and kept under ``./var`` when unset."""
    here.run("users", "add", "ann@acme.example", "--tenant", "acme")
    here.run("token", "ann@acme.example")
    secret = (here.folder / "var" / "jwt-secret").read_text()
    here.run("token", "ann@acme.example")
    assert (here.folder / "var" / "jwt-secret").read_text() == secret
    assert len(secret) >= 32


def test_settings_that_are_wrong(here: Installed) -> None:
    """Contract 1: ``TIDINGS_ENV=production`` refuses to start, naming each fault; no traceback, no secret."""
    here.env |= {"TIDINGS_ENV": "production", "TIDINGS_JWT_SECRET": "hush", "TIDINGS_PUBLIC_URL": "http://x"}
    done = here.run("serve")
    assert done.returncode == Exit.CONFIG.number
    assert [line.split()[0] for line in done.stderr.splitlines()[1:]] == [
        "TIDINGS_JWT_SECRET:",
        "TIDINGS_JWT_SECRET:",
        "TIDINGS_ALLOWED_ORIGINS,",
    ]
    assert "hush" not in done.stderr


def test_the_notification_lines_work(here: Installed) -> None:
    """Contract 1: prints copy-paste lines that show a notification, over SSE and over Socket.IO."""
    with serving(here, "--port", "0") as (server, _):
        lines = pasteable(server)
        with (
            here.start_pasted(lines["watch"]) as watching,
            here.start_pasted(lines["socket"], CLIENTS) as socket,
        ):
            watching.wait_for_output('"type":"ready"')
            socket.wait_for_output("notification:ready")
            sent = json.loads(here.paste(lines["send"]).stdout)
            watching.wait_for_output(f'"type":"new".*{sent["id"]}')
            socket.wait_for_output(sent["id"])


def test_the_job_lines_work(here: Installed) -> None:
    """Contract 1: prints copy-paste lines that show a job stream."""
    with serving(here, "--port", "0") as (server, _):
        said = here.paste(pasteable(server)["job"]).stdout
    assert "step 1 of 10" in said
    assert '"type":"completed"' in said.splitlines()[-2]


def test_the_printed_tokens_work(here: Installed) -> None:
    """Contract 1: a token for each demo user."""
    with serving(here, "--port", "0") as (server, url):
        pasteable(server)
        for name in ("ada", "grace", "alan"):
            found = re.search(rf"^  {name}@demo\.test +(?:ADMIN|USER) +(\S+)$", server.output, re.MULTILINE)
            assert found is not None
            done = here.paste(f"curl -s -H 'Authorization: Bearer {found[1]}' {url}/notifications/unread")
            assert json.loads(done.stdout)["count"] == 0


def test_sigterm_ends_it_well(here: Installed) -> None:
    """Contract 9: SIGTERM ends a server with exit code 0, and a second start finds the same demo."""
    with serving(here, "--port", "0") as (server, _):
        assert server.stop() == 0
    with serving(here, "--port", "0") as (server, _):
        pasteable(server)


def test_watching_survives_a_restart(here: Installed) -> None:
    """Contract 7: a worker killed with SIGKILL loses no job; whoever watches it sees the end."""
    here.env |= {"TIDINGS_PORT": str(free_port()), "TIDINGS_JOB_LEASE_SECONDS": "1"}
    run = ("jobs", "run", "demo.steps", "--payload", SLOW, "--as", "grace@demo.test", "--watch", "--json")
    with serving(here) as (server, _), here.start(*run) as watching:
        watching.wait_for_output('"message":"step 2 of 40"')
        server.stop(signal.SIGKILL)
        watching.wait_for_output("trying again")
        with serving(here):
            assert watching.wait(60) == Exit.OK.number
            lines = watching.output.splitlines()[1:]
    events = [json.loads(line) for line in lines if line.startswith("{")]
    assert [line for line in lines if not line.startswith("{")] == [
        "The server does not answer: trying again.",
        "The server answers again.",
    ]
    assert events[-1]["type"] == "completed"
    assert events[-1]["attempt"] >= 2


def test_dead_letters(here: Installed) -> None:
    """Contract 7: dead letters listed and retried; what waits or runs is cancelled from anywhere."""
    here.env["TIDINGS_PORT"] = str(free_port())
    grace = ("--as", "grace@demo.test", "--json")

    def jobs(*words: str) -> list[dict[str, object]]:
        done = here.run("jobs", *words, *grace)
        return [json.loads(line) for line in done.stdout.splitlines()]

    with serving(here):
        broken = '{"steps": 1, "delayMs": 0, "failAt": 1, "failTimes": 3}'
        *_, failed = jobs("run", "demo.steps", "--payload", broken, "--watch")
        assert (failed["type"], failed["attempt"]) == ("failed", 3)
        (dead,) = jobs("list", "--status", "failed", "--kind", "demo.steps")
        assert dead["id"] == failed["jobId"]
        assert [job["id"] for job in jobs("retry", "--all-failed", "--yes")] == [dead["id"]]
        assert jobs("watch", str(dead["id"]))[-1]["type"] == "completed"
        assert jobs("list", "--status", "failed") == []
        (later,) = jobs("run", "demo.steps", "--payload", SLOW, "--delay", "600")
        (cancelled,) = jobs("cancel", str(later["id"]))
        assert cancelled["status"] == "cancelled"
        assert jobs("show", str(later["id"])) == [cancelled]


def test_ctrl_c_leaves_the_job_running(here: Installed) -> None:
    """Ctrl-C ends the watching and says so; another watch sees the job to its end, which sets the exit code."""
    here.env["TIDINGS_PORT"] = str(free_port())
    failing = '{"steps": 10, "delayMs": 100, "failAt": 10}'
    run = ("jobs", "run", "demo.steps", "--payload", failing, "--as", "grace@demo.test", "--watch", "--json")
    with serving(here):
        with here.start(*run) as watching:
            job = watching.wait_for_output(r'"jobId":"([^"]+)".*step 1 of 10')[1]
            assert watching.stop(signal.SIGINT) == Exit.INTERRUPTED.number
            assert f"tidings jobs watch {job}" in watching.output
        assert here.run("jobs", "watch", job, "--as", "alan@demo.test").returncode == Exit.NOT_FOUND.number
        assert here.run("jobs", "watch", job, "--as", "grace@demo.test").returncode == Exit.JOB_FAILED.number


def test_deactivation_ends_streams(here: Installed) -> None:
    """Contract 2: deactivation ends live connections; a token of before is good for nothing."""
    with serving(here, "--port", "0") as (server, _):
        watch = pasteable(server)["watch"]
        with here.start_pasted(watch) as watching:
            watching.wait_for_output('"type":"ready"')
            assert here.run("users", "deactivate", "grace@demo.test").returncode == 0
            wait_until(lambda: not watching.running)
        assert "UNAUTHENTICATED" in here.paste(watch).stdout


def test_the_command_is_installed() -> None:
    """Contract 1: after ``make install``, ``.venv/bin/tidings`` is the command."""
    assert TIDINGS.is_file()
