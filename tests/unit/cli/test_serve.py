"""``tidings serve``: what it refuses before anything is started."""

import socket

from tests.support.processes import free_port
from tests.support.terminal import Terminal
from tidings.cli.exits import Exit


def test_more_workers_need_redis(terminal: Terminal) -> None:
    """Contract 1: ``--workers N``; N > 1 needs a Redis broker and says so."""
    done = terminal.run("serve", "--workers", "2")
    assert done.exit_code == Exit.CONFIG.number
    assert "TIDINGS_WORKERS: more than one process needs a Redis broker" in done.stderr


def test_an_address_of_no_broker(terminal: Terminal) -> None:
    """A broker that is asked for and cannot be had is no reason to take another one in silence."""
    terminal.env["REDIS_URL"] = "redis://:hush@127.0.0.1:6379/no-number"
    done = terminal.run("serve", "--port", "0")
    assert done.exit_code == Exit.CONFIG.number
    assert "TIDINGS_BROKER_URL" in done.stderr
    assert "hush" not in done.output


def test_workers_of_one_database(terminal: Terminal) -> None:
    """What is wrong before any worker is started is told once, in one line."""
    database = f"postgresql://127.0.0.1:{free_port()}/tidings"
    terminal.env |= {"REDIS_URL": "redis://127.0.0.1:6379", "TIDINGS_DATABASE_URL": database}
    done = terminal.run("serve", "--workers", "2", "--port", "0")
    assert done.exit_code == Exit.UNAVAILABLE.number
    assert len(done.stderr.splitlines()) == 1


def test_port_in_use(terminal: Terminal) -> None:
    """A port that is taken is told in one line, and nothing was touched before."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = terminal.run("serve", "--port", str(port))
    assert done.exit_code == Exit.SYSTEM.number
    assert done.stderr == f"tidings: cannot listen on http://127.0.0.1:{port}: Address already in use\n"
    assert not (terminal.folder / "var").exists()


def test_address_of_somebody_else(terminal: Terminal) -> None:
    """An address that is not this machine's is told likewise (this one is nobody's: RFC 5737)."""
    done = terminal.run("serve", "--host", "203.0.113.1")
    assert done.exit_code == Exit.SYSTEM.number
    assert done.stderr == (
        "tidings: cannot listen on http://203.0.113.1:4000: Cannot assign requested address\n"
    )


def test_production_names_each_fault(terminal: Terminal) -> None:
    """Contract 1: ``TIDINGS_ENV=production`` refuses to start, naming each fault; no secret is echoed."""
    terminal.env |= {"TIDINGS_ENV": "production", "TIDINGS_JWT_SECRET": "hush", "TIDINGS_DEBUG": "1"}
    done = terminal.run("serve")
    assert done.exit_code == Exit.CONFIG.number
    for name in ("TIDINGS_JWT_SECRET", "TIDINGS_DEBUG"):
        assert f"\n  {name}: " in done.stderr
    assert "hush" not in done.output
    assert "Traceback" not in done.output
