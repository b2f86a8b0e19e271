"""Child processes as the tests need them: started, waited for by a condition, ended for certain.

A child gets a session of its own, so that a Ctrl-C at the terminal reaches it only through the teardown of
who started it, and so that its own children can be ended with it. Waiting blocks the calling thread: an async
test with something of its own to serve uses ``asyncio.to_thread``.
"""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

READY_SECONDS = 30.0
STOP_SECONDS = 10.0

_POLL_SECONDS = 0.01
_SHOWN_CHARACTERS = 4000


class ChildError(AssertionError):
    """A child did not do what was waited for. The message ends with what it last said."""


class Child:
    """A running program. Its standard output and error are collected, line by line, as they come."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        user: str | None = None,
    ) -> None:
        """``env`` is the whole environment; None hands on our own. ``user`` is for root alone."""
        self._popen = subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            user=user,
            group=user,
            extra_groups=None if user is None else (),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._reader = threading.Thread(target=self._read, name=f"output of {self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def running(self) -> bool:
        return self._popen.poll() is None

    @property
    def output(self) -> str:
        """What it has said so far."""
        with self._changed:
            return "".join(self._lines)

    def wait_for_output(self, pattern: str, seconds: float = READY_SECONDS) -> re.Match[str]:
        """The first match of a regular expression in all that it has said, waited for if need be.

        Raises:
            ChildError: it fell silent for good without saying so, or the time is over.
        """
        found: re.Match[str] | None = None

        def met() -> bool:
            nonlocal found
            found = re.search(pattern, "".join(self._lines), re.MULTILINE)
            return found is not None or self._ended

        with self._changed:
            self._changed.wait_for(met, seconds)
        if found is None:
            raise self._error(f"did not say {pattern!r}")
        return found

    def wait_for_port(self, port: int, host: str = "127.0.0.1", seconds: float = READY_SECONDS) -> None:
        """Until something accepts connections there.

        Raises:
            ChildError: the child ended, or the time is over.
        """

        def accepts() -> bool:
            with suppress(OSError), socket.create_connection((host, port), timeout=1):
                return True
            return not self.running

        try:
            wait_until(accepts, seconds)
        except TimeoutError:
            raise self._error(f"does not listen on {port}") from None
        if not self.running:
            raise self._error(f"ended before it listened on {port}")

    def wait(self, seconds: float = READY_SECONDS) -> int:
        """Until it ends by itself; its exit code, negative for a signal.

        Raises:
            ChildError: the time is over.
        """
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self._error(f"still runs after {seconds} s") from None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal; none if it has ended."""
        self._popen.send_signal(number)

    def stop(self, first: signal.Signals = signal.SIGTERM, seconds: float = STOP_SECONDS) -> int:
        """End it and whatever it left behind in its session, by force after a while; its exit code."""
        self.send(first)
        try:
            code = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            code = self._popen.wait()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._reader.join(STOP_SECONDS)
        return code

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as stream:
            for line in stream:
                with self._changed:
                    self._lines.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def _error(self, what: str) -> ChildError:
        said = self.output[-_SHOWN_CHARACTERS:]
        return ChildError(f"{self._popen.args!r} {what}; exit code {self._popen.poll()}; it said:\n{said}")


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    user: str | None = None,
    stop_with: signal.Signals = signal.SIGTERM,
) -> Iterator[Child]:
    """A child that does not outlive the block."""
    child = Child(command, env=env, cwd=cwd, user=user)
    try:
        yield child
    finally:
        child.stop(stop_with)


def wait_until(condition: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    """Look again and again, every 10 ms, until the condition holds.

    Raises:
        TimeoutError: it did not hold in that time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not so within {seconds} s")
        time.sleep(_POLL_SECONDS)


def free_port() -> int:
    """A port of 127.0.0.1 that nothing used a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
