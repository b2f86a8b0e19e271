"""Processes for plain functions: started beforehand, one attempt at a time in each.

Each child is a fresh interpreter, not a fork, so nothing of the server's threads, sockets or event loop gets
into it. It is heard through one socket on the event loop, without a thread. A child that dies ends its attempt
as ``Lost`` and is replaced. The pool sets no time limits: its caller asks and kills.
"""

import asyncio
import logging
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, cast

import structlog

from tidings.jobs.context import JobFailed, JobStopped, Stop
from tidings.jobs.execution import Desk, Execution
from tidings.jobs.outcome import FAILED, FAILED_MESSAGE, Done, Failed, Lost, Outcome, Stopped, Waits
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

EXIT_SECONDS = 1.0
"""How long a child whose pipe is closed may take to end by itself."""

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


class Pool:
    """Processes that have imported ``modules``: ``size`` to begin with, more when more attempts run at once.

    They are started one after the other, so that a server that starts has its processors for itself.
    """

    def __init__(self, size: int, modules: Sequence[str]) -> None:
        self._owed = size  # how many are still to be started beforehand
        self._modules = sorted(set(modules))
        self._children: set[_Child] = set()
        self._idle: deque[_Child] = deque()  # the one that is used next is last
        self._chores: set[asyncio.Future[None]] = set()
        self._closing = False

    def start(self) -> None:
        """Start the first process; does not wait until it is ready.

        Raises:
            OSError: no process can be started.
        """
        self._owed -= 1
        self._idle.append(self._spawn())

    def begin(self, run: Run, desk: Desk) -> Execution:
        """Begin an attempt in an idle process, or a new one if there is none.

        Raises:
            OSError: no process can be started.
        """
        if self._idle:
            return self._idle.pop().begin(run, desk)
        self._owed -= 1
        return self._spawn().begin(run, desk)

    async def close(self) -> None:
        """End every process, idle or not; return when they are gone."""
        self._closing = True
        for child in tuple(self._children):
            child.dismiss()
        while awaited := [*self._chores, *(child.buried for child in self._children)]:
            await asyncio.wait(awaited)

    def ready(self, child: "_Child") -> None:
        """A child has done its set-up: it goes before those that have not, and the next one may be started."""
        if child in self._idle:
            self._idle.remove(child)
            self._idle.append(child)
        if self._owed > 0 and not self._closing:
            self._owed -= 1
            self._add()

    def freed(self, child: "_Child") -> None:
        """A child has ended an attempt."""
        self._idle.append(child)

    def gone(self, child: "_Child") -> None:
        """A child's pipe has closed."""
        if child in self._idle:
            self._idle.remove(child)
        self._chore(self._bury(child))
        if self._closing:
            return
        if child.was_ready:
            self._add()
        else:  # what cannot even start would not start the next time either; a job will try
            _log.error("a process for jobs did not start", pid=child.pid)

    def _spawn(self) -> "_Child":
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                child = _Child(_start(theirs), self)
        except BaseException:
            ours.close()
            raise
        self._children.add(child)
        child.send(Setup(sys.path, logging.getLogger().getEffectiveLevel(), self._modules, child.scratch))
        self._chore(child.listen(ours))
        return child

    def _add(self) -> None:
        try:
            self._idle.appendleft(self._spawn())
        except OSError as fault:
            _log.error("no process for jobs can be started", reason=str(fault))

    async def _bury(self, child: "_Child") -> None:
        code = await asyncio.to_thread(child.wait)
        self._children.discard(child)
        child.ended(code)

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


class _Child(asyncio.Protocol):
    """One process, as the event loop hears it."""

    def __init__(self, process: subprocess.Popen[bytes], pool: Pool) -> None:
        self._process = process
        self._pool = pool
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._attempt: _Attempt | None = None
        self.scratch = tempfile.mkdtemp(prefix="tidings-")
        self.was_ready = False
        self.buried: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def listen(self, ours: socket.socket) -> None:
        """Hear it from now on."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self, sock=ours)

    def begin(self, run: Run, desk: Desk) -> "_Attempt":
        self._attempt = _Attempt(self, run, desk)
        self.send(run)
        return self._attempt

    def send(self, message: Message) -> None:
        """Goes as soon as it is heard; nowhere if the child is gone, and then its end is on the way."""
        if self._transport is not None:
            self._transport.write(encode(message))
        else:
            self._unsent.append(encode(message))

    def kill(self) -> None:
        self._process.kill()

    def dismiss(self) -> None:
        """Let it go if it is idle, end it if it is not, or still starts: it would not hear of it for long."""
        if self._attempt is not None or not self.was_ready:
            self.kill()
        elif self._transport is not None:
            self._transport.close()

    def wait(self) -> int:
        """Its exit code, once what it left is gone too. Blocks."""
        try:
            return self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return self._process.wait()
        finally:
            shutil.rmtree(self.scratch, ignore_errors=True)

    def ended(self, code: int) -> None:
        self.buried.set_result(None)
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.outcome.set_result(Lost(f"process {self.pid} ended with exit code {code}"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by inheritance
        self._transport.writelines(self._unsent)

    def data_received(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            self._hear(message)

    def connection_lost(self, _fault: Exception | None) -> None:
        self._transport = None
        self._pool.gone(self)

    def _hear(self, message: Message) -> None:
        attempt = self._attempt
        if isinstance(message, Report):
            if attempt is not None:
                attempt.desk.report(message.fraction, message.message, message.stage)
        elif isinstance(message, Attach):
            if attempt is not None:
                attempt.attach(message)
        elif isinstance(message, Line):
            _write(message, None if attempt is None else attempt.run)
        elif isinstance(message, Ready):
            self.was_ready = True
            self._pool.ready(self)
        elif isinstance(message, Done | Failed | Stopped | Waits) and attempt is not None:
            self._attempt = None
            self._pool.freed(self)
            attempt.outcome.set_result(message)


class _Attempt:
    """``Execution`` in a child."""

    def __init__(self, child: _Child, run: Run, desk: Desk) -> None:
        self._child = child
        self.run = run
        self.desk = desk
        self._storing: asyncio.Task[None] | None = None
        self.outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.outcome.add_done_callback(self._give_up)

    def attach(self, attach: Attach) -> None:
        """Store what the child hands over; it waits for the answer, so there is one at a time."""
        self._storing = asyncio.create_task(self._store(attach))

    def ask(self, why: Stop) -> None:
        if not self.outcome.done():
            self._child.send(StopNow(why))

    def kill(self) -> None:
        if not self.outcome.done():
            self._child.kill()

    def _give_up(self, _: asyncio.Future[Outcome]) -> None:
        """The child is gone: nobody waits for an answer."""
        if self._storing is not None:
            self._storing.cancel()

    async def _store(self, attach: Attach) -> None:
        self._child.send(await self._stored(attach))

    async def _stored(self, attach: Attach) -> Attached:
        try:
            await self.desk.attach(attach.name, Path(attach.path), attach.media_type)
        except JobFailed as refused:
            return Attached(refused.code, refused.message, refused.retry)
        except JobStopped:
            return Attached(stopped=True)
        except Exception as fault:  # noqa: BLE001 - whatever it is, the child waits for an answer
            _log.error("an artifact could not be stored", jobId=self.run.job_id, exc_info=fault)
            return Attached(FAILED, FAILED_MESSAGE)
        return Attached()


def _start(theirs: socket.socket) -> subprocess.Popen[bytes]:
    # -P: what happens to lie in the working directory is not imported in place of a library.
    command = [sys.executable, "-P", "-m", "tidings.jobs.child", str(theirs.fileno())]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])  # noqa: S603 - our own


def _write(line: Line, run: Run | None) -> None:
    known = {} if run is None else {"jobId": run.job_id, "kind": run.kind, "attempt": run.attempt}
    fields = {key: value for key, value in line.fields.items() if key not in {"event", "level"}}
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(line.logger)
    logger.log(line.level, line.event, **{**known, **fields})
