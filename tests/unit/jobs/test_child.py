"""The child's end of the pipe, without a process. What a whole child does is in the tests of the pool."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tidings.jobs.child import Pipe
from tidings.jobs.context import Stop
from tidings.jobs.pipe import Frames, Message, Ready, Report, Run, StopNow, encode

RUN = Run("job", "kind", 1, "module:name", {}, {})


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, Pipe]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, Pipe(theirs)


def test_it_says_and_hears(ends: tuple[socket.socket, Pipe]) -> None:
    """What is sent arrives; what arrives is received in order, and waited for."""
    parent, pipe = ends
    pipe.send(Ready())
    pipe.report(0.5, "message", None)
    heard: list[Message] = Frames().feed(parent.recv(1000))
    assert heard == [Ready(), Report(0.5, "message", None)]
    parent.sendall(encode(RUN) + encode(StopNow(Stop.CANCELLED)))
    assert [pipe.receive(), pipe.receive()] == [RUN, StopNow(Stop.CANCELLED)]


def test_looking_does_not_wait(ends: tuple[socket.socket, Pipe]) -> None:
    """A job that reports is held up by nothing: it looks whether there is word, and goes on."""
    parent, pipe = ends
    assert pipe.stop() is None
    parent.sendall(encode(StopNow(Stop.TIMED_OUT)))
    assert (pipe.stop(), pipe.stop()) == (Stop.TIMED_OUT, Stop.TIMED_OUT)


def test_the_next_job_begins_afresh(ends: tuple[socket.socket, Pipe]) -> None:
    """What one job was told is not the next one's business."""
    parent, pipe = ends
    parent.sendall(encode(StopNow(Stop.CANCELLED)))
    before = pipe.stop()
    pipe.begin()
    assert (before, pipe.stop()) == (Stop.CANCELLED, None)


def test_without_a_parent_it_stops_waiting(ends: tuple[socket.socket, Pipe]) -> None:
    """An idle child whose parent is gone has nothing to wait for."""
    parent, pipe = ends
    parent.close()
    with pytest.raises(EOFError):
        pipe.receive()


ORPHAN = """
import socket, sys
from tidings.jobs.child import Pipe
ours, theirs = socket.socketpair()
pipe = Pipe(theirs)
ours.close()
getattr(pipe, sys.argv[1])(*eval(sys.argv[2]))
print("still here")
"""


@pytest.mark.parametrize(("method", "arguments"), [("stop", "()"), ("report", "(0.5, None, None)")])
def test_without_a_parent_a_busy_child_ends(method: str, arguments: str) -> None:
    """A job whose parent is gone is ended when it next reports: nobody will ever hear of it."""
    ended = subprocess.run(
        [sys.executable, "-c", ORPHAN, method, arguments], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (3, "", "")


def test_an_idle_child_ends_quietly() -> None:
    """A pool that closes a child's pipe finds it ended in order, signals or not."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "tidings.jobs.child", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stderr=subprocess.PIPE,
        )
        theirs.close()
        ours.sendall(encode(RUN))
        assert Frames().feed(ours.recv(100_000))
        process.send_signal(signal.SIGTERM)
        ours.close()
        assert process.communicate()[1] == b""
        assert process.returncode == 0
