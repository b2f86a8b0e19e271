"""Children start, are waited for, and end, whatever they do."""

import os
import sys
from pathlib import Path
from signal import SIGKILL, SIGTERM

import pytest

from tests.support.processes import Child, ChildError, free_port, running, wait_until

DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print("child", child.pid, flush=True)
time.sleep(600)
"""


def python(code: str, *arguments: str) -> list[str | Path]:
    return [sys.executable, "-c", code, *arguments]


def test_output_is_waited_for() -> None:
    """What a child says can be matched, and both its streams are kept."""
    code = "import sys; print('port 41', flush=True); print('oops', file=sys.stderr); input()"
    with running(python(code)) as child:
        assert child.wait_for_output(r"port (\d+)")[1] == "41"
        assert child.wait() == 1
    assert "oops" in child.output


def test_child_that_ends_early_is_told_with_its_last_words() -> None:
    """Whoever waits for something that will not come learns why, at once."""
    with running(python("print('no licence'); raise SystemExit(3)")) as child:
        with pytest.raises(ChildError, match=r"(?s)did not say 'ready'; .*no licence"):
            child.wait_for_output("ready")
        with pytest.raises(ChildError, match="ended before it listened"):
            child.wait_for_port(free_port())


def test_waiting_has_an_end() -> None:
    """A child that says and does nothing is not waited for beyond the time given."""
    with running(python("import time; time.sleep(600)")) as child:
        with pytest.raises(ChildError, match="did not say"):
            child.wait_for_output("ready", seconds=0.05)
        with pytest.raises(ChildError, match="does not listen"):
            child.wait_for_port(free_port(), seconds=0.05)
        with pytest.raises(ChildError, match="still runs"):
            child.wait(seconds=0.05)


def test_port_is_waited_for() -> None:
    """Until the child accepts, not only until it runs."""
    port = free_port()
    code = (
        "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
    )
    with running(python(code, str(port))) as child:
        child.wait_for_port(port)
        assert child.running


def test_child_ends_with_its_block() -> None:
    """Even if the block fails, its child does not live on."""
    with pytest.raises(ZeroDivisionError), running(python("import time; time.sleep(600)")) as child:
        raise ZeroDivisionError
    assert not child.running
    assert child.wait() == -SIGTERM


def test_deaf_child_is_killed() -> None:
    """A child that will not hear SIGTERM gets SIGKILL when its time is over."""
    child = Child(python(DEAF))
    child.wait_for_output("deaf")
    assert child.stop(seconds=0.05) == -SIGKILL


def test_children_of_a_child_end_with_it() -> None:
    """What a killed child leaves behind in its session goes too."""
    with running(python(PARENT)) as child:
        orphan = int(child.wait_for_output(r"child (\d+)")[1])
        child.send(SIGKILL)
        assert child.wait() == -SIGKILL
    wait_until(lambda: not _alive(orphan))


def test_condition_that_never_holds_times_out() -> None:
    """Waiting is bounded."""
    with pytest.raises(TimeoutError, match=r"within 0\.02 s"):
        wait_until(lambda: False, seconds=0.02)


def _alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has reaped yet does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not status.exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
