"""``tidings worker``, where it refuses; what it does is tested with real processes."""

from tests.support.terminal import Terminal
from tidings.cli.exits import Exit


def test_the_embedded_broker(terminal: Terminal) -> None:
    """There is nobody to share with, and it is said what to do instead."""
    done = terminal.run("worker")
    assert done.exit_code == Exit.CONFIG.number
    assert done.stderr.startswith("tidings: TIDINGS_BROKER_URL: ")
    assert "`tidings serve` runs jobs itself" in done.stderr
    assert not (terminal.folder / "var").exists()


def test_settings_that_are_wrong(terminal: Terminal) -> None:
    """A flag is the setting of its name, and is judged as that."""
    terminal.env["TIDINGS_BROKER_URL"] = "redis://127.0.0.1:1"
    done = terminal.run("worker", "--concurrency", "0")
    assert done.exit_code == Exit.CONFIG.number
    assert "TIDINGS_JOB_CONCURRENCY" in done.stderr


def test_modules_before_anything_else(terminal: Terminal) -> None:
    """A module that cannot be imported is told before a database or a broker is touched."""
    terminal.env |= {"TIDINGS_BROKER_URL": "redis://127.0.0.1:1", "TIDINGS_APP": "nowhere"}
    done = terminal.run("worker")
    assert done.exit_code == Exit.CONFIG.number
    assert done.stderr.startswith("tidings: --app nowhere: there is no module nowhere")
    assert not (terminal.folder / "var").exists()
