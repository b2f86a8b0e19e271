"""The program of a pool's child process: import the kinds, then run one plain function after another.

It writes no log of its own: what the job's code logs goes to the parent, which has the one configuration. It
ends when its pipe does, and on Linux at once when its parent dies, whatever it is doing.
"""

import ctypes
import importlib
import logging
import os
import signal
import socket
import sys
import tempfile
import threading
import traceback
from collections import deque
from collections.abc import Awaitable, Generator
from types import FrameType
from typing import Any

import structlog

from tidings.artifacts.base import Source
from tidings.domain import strictjson
from tidings.jobs.children import Memory
from tidings.jobs.context import JobContext, JobFailed, JobStopped, Stop
from tidings.jobs.kinds import JobFunction, payload_model
from tidings.jobs.outcome import Done, Failed, Stopped, Waits, done, fallen
from tidings.jobs.pipe import (
    Attach,
    Attached,
    Frames,
    Line,
    Message,
    Ready,
    Report,
    Run,
    Setup,
    StopNow,
    encode,
)

_RECEIVE_BYTES = 65_536
_PR_SET_PDEATHSIG = 1
_ORPHANED = 3
"""The exit code of a child that finds its parent gone; nobody is left to read it."""


class Pipe:
    """The child's end, and the ``Link`` of the job that runs. Any thread of the job's may report."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Frames()
        self._inbox: deque[Message] = deque()
        self._sending, self._looking = threading.Lock(), threading.Lock()
        self._stop: Stop | None = None
        self.scratch: str | None = None

    def send(self, message: Message) -> None:
        frame = encode(message)
        try:
            with self._sending:
                self._sock.sendall(frame)
        except OSError:
            os._exit(_ORPHANED)

    def receive(self) -> Message:
        """The next message, waited for.

        Raises:
            EOFError: there is no parent any more.
        """
        while not self._inbox:
            self._read(0)
        return self._inbox.popleft()

    def begin(self) -> None:
        """A job begins: what the one before was told is over."""
        self._stop = None

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        self.send(Report(fraction, message, stage))

    def attach(self, name: str, source: Source, media_type: str) -> Awaitable[None]:
        if not isinstance(source, bytes):
            self._hand_over(Attach(name, str(source), media_type))
            return _Over()
        with tempfile.NamedTemporaryFile(dir=self.scratch) as file:
            file.write(source)
            file.flush()
            self._hand_over(Attach(name, file.name, media_type))
        return _Over()

    def stop(self) -> Stop | None:
        with self._looking:
            self._look()
            self._hear()
        return self._stop

    def _hand_over(self, attach: Attach) -> None:
        """Send it and wait for the answer, one at a time."""
        with self._looking:
            self.send(attach)
            while (answer := self._hear()) is None:
                try:
                    self._read(0)
                except (EOFError, OSError):
                    os._exit(_ORPHANED)
        if answer.stopped:
            raise JobStopped
        if answer.code is not None:
            raise JobFailed(answer.code, answer.message, retry=answer.retry)

    def _hear(self) -> Attached | None:
        """Go through what has come, up to an answer."""
        while self._inbox:
            message = self._inbox.popleft()
            if isinstance(message, Attached):
                return message
            if isinstance(message, StopNow):
                self._stop = Stop(message.why)
        return None

    def _look(self) -> None:
        try:
            self._read(socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (EOFError, OSError):
            os._exit(_ORPHANED)

    def _read(self, flags: int) -> None:
        data = self._sock.recv(_RECEIVE_BYTES, flags)
        if not data:
            raise EOFError
        self._inbox += self._frames.feed(data)


class _Over:
    """Nothing to wait for any more: code that awaits it goes on at once."""

    def __await__(self) -> Generator[None]:
        return
        yield


class _ToParent(logging.Handler):
    """Sends what is logged, by the standard library or through it by structlog, up the pipe."""

    def __init__(self, pipe: Pipe) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        said: object = record.msg
        fields = dict(said) if isinstance(said, dict) else {"event": record.getMessage()}
        event = str(fields.pop("event", ""))
        if record.exc_info is not None:
            fields["exception"] = "".join(traceback.format_exception(*record.exc_info))
        self._pipe.send(Line(record.levelno, record.name, event, fields))


def main(descriptor: int) -> None:
    """Serve the parent, at the other end of the socket, until it closes it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        # A handler, not SIG_IGN, which the job's own subprocesses would inherit.
        signal.signal(number, _leave_it_to_the_parent)
    with socket.socket(fileno=descriptor) as sock:
        sock.set_inheritable(False)
        pipe = Pipe(sock)
        _log_to_parent(pipe)
        try:
            while True:
                _obey(pipe.receive(), pipe)
        except (EOFError, ConnectionResetError):
            return


def _obey(message: Message, pipe: Pipe) -> None:
    if isinstance(message, Setup):
        pipe.scratch = message.scratch
        _prepare(message)
        pipe.send(Ready())
    elif isinstance(message, Run):
        pipe.begin()
        pipe.send(_attempt(message, pipe))


def _prepare(setup: Setup) -> None:
    sys.path[:] = setup.path
    logging.getLogger().setLevel(setup.log_level)
    for module in setup.modules:
        try:
            importlib.import_module(module)
        except Exception:  # the job that needs it will fail and say so
            logging.getLogger("tidings.jobs").exception("cannot import %s, which has job kinds", module)


def _attempt(run: Run, pipe: Pipe) -> Done | Failed | Stopped | Waits:
    try:
        function = _resolve(run.target)
        payload = payload_model(function).model_validate_json(strictjson.dumps(run.payload))
        memory = Memory.of_json(run.memory)
        return done(function(JobContext(run.job_id, run.kind, run.attempt, pipe, memory), payload))
    except BaseException as fault:  # noqa: BLE001 - sys.exit in a job ends the job, not the child
        return fallen(fault)


def _resolve(target: str) -> JobFunction:
    module, _, names = target.partition(":")
    found: Any = importlib.import_module(module)
    for name in names.split("."):
        found = getattr(found, name)
    function: JobFunction = found
    return function


def _log_to_parent(pipe: Pipe) -> None:
    logging.getLogger().handlers[:] = [_ToParent(pipe)]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _leave_it_to_the_parent(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C and a service manager reach the whole group; whether a job may end first is not ours to say."""


if __name__ == "__main__":
    main(int(sys.argv[1]))
