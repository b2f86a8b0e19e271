"""The supervisor: keeps a worker process running under each number, and ends them together.

It serves nothing itself and opens no database, so there is little in it that can fail. Whatever becomes of it,
its workers notice by their lifelines.
"""

import asyncio
import contextlib
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator, Sequence

import structlog

from tidings.crew.backoff import Backoff
from tidings.crew.lifeline import Order
from tidings.crew.listeners import cover
from tidings.crew.process import Command, Process

_FAULT = 1
_SIGNALLED = 128
"""What a shell adds to a signal's number to make an exit code of it."""

_log = structlog.stdlib.get_logger("tidings")


class Supervisor:
    """One worker for each of ``listeners``. ``stop_seconds``: a worker that needs longer to end is killed."""

    def __init__(self, command: Command, listeners: Sequence[socket.socket], stop_seconds: float) -> None:
        self._command = command
        self._listeners = listeners
        self._count = len(listeners)
        self._stop_seconds = stop_seconds
        self._workers: dict[int, Process] = {}
        self._ready = [asyncio.Event() for _ in listeners]
        self._covered: dict[int, int] = {}
        self._stopping = asyncio.Event()
        self._restarting: asyncio.Task[None] | None = None
        self._leaving: set[int] = set()
        self._on_terminal = os.isatty(0)

    async def run(self, ready: Callable[[], None]) -> int:
        """Keep the workers until a signal comes, and return an exit code; ``ready`` is told when all serve.

        A worker that cannot even start the first time says why itself, and all ends with its exit code.
        """
        with self._signals():
            failed = await self._first()
            if failed:
                self.stop()
            elif not self._stopping.is_set():
                ready()
            await asyncio.gather(*(self._keep(number) for number in self._workers))
            if self._restarting is not None:
                self._restarting.cancel()
        return failed

    def stop(self) -> None:
        """Drain all and end; asked once more, at once."""
        if self._stopping.is_set():
            for worker in self._workers.values():
                worker.order(Order.HURRY)
            return
        _log.info("stopping", workers=self._count)
        self._stopping.set()
        for worker in self._workers.values():
            worker.stop()
        asyncio.get_running_loop().call_later(self._stop_seconds, self._kill_all)

    def restart(self) -> None:
        """Replace one worker after the other, each when the one before serves again."""
        if self._restarting is not None and not self._restarting.done():
            _log.warning("a restart is under way already")
        elif all(ready.is_set() for ready in self._ready):
            self._restarting = asyncio.create_task(self._restart())
        else:
            _log.warning("no restart while a worker is missing")

    async def _restart(self) -> None:
        _log.info("restarting", workers=self._count)
        for number, ready in enumerate(self._ready):
            await ready.wait()
            await self._let_go(self._workers[number])
            await ready.wait()
        _log.info("restarted", workers=self._count)

    async def _let_go(self, worker: Process) -> None:
        """Have others take a worker's new clients while it drains; if there are none it tells them so itself."""
        self._leaving.add(worker.number)
        self._absent(worker.number)
        if self._covered:
            worker.order(Order.LEAVE)
        else:
            worker.stop()
        try:
            await asyncio.wait_for(worker.ended(), self._stop_seconds)
        except TimeoutError:
            self._kill(worker)

    async def _first(self) -> int:
        """Start one alone, so that what stops every worker is told once, then the rest; 0 if they serve."""
        for numbers in ([0], range(1, self._count)):
            serving = await asyncio.gather(*(self._launch(number) for number in numbers))
            if self._stopping.is_set():
                break
            for number, serves in zip(numbers, serving, strict=True):
                if not serves:
                    return _exit_code(await self._workers[number].ended())
        return 0

    async def _keep(self, number: int) -> None:
        """Replace a worker whenever it ends, until all are to end."""
        clock = asyncio.get_running_loop().time
        backoff, restarts, started = Backoff(random.random), 0, clock()
        while True:
            worker = self._workers[number]
            if await worker.departing():
                _log.info("worker departs", number=number, pid=worker.pid)
                await self._let_go(worker)
            code = await worker.ended()
            if self._stopping.is_set():
                return
            if number in self._leaving:
                self._leaving.remove(number)
            else:
                restarts += 1
                self._absent(number)
                _log.warning("worker ended", number=number, pid=worker.pid, restarts=restarts, **_how(code))
                await self._pause(backoff.after(clock() - started))
            started = clock()
            try:
                await self._launch(number)
            except OSError as fault:
                _log.error("worker not started", number=number, reason=str(fault))

    async def _launch(self, number: int) -> bool:
        """Start a worker, and wait until it serves; False if it did not come to that.

        Raises:
            OSError: no process can be started.
        """
        if self._stopping.is_set():
            return False
        worker = await Process.start(self._command, number, self._listeners)
        self._workers[number] = worker
        if self._stopping.is_set():
            worker.stop()
        if not await worker.ready():
            return False
        self._ready[number].set()
        self._share_out()
        _log.info("worker ready", number=number, pid=worker.pid)
        return True

    def _absent(self, number: int) -> None:
        self._ready[number].clear()
        self._share_out()

    def _share_out(self) -> None:
        """Tell who has to listen where, so that no socket is left alone."""
        ready = [number for number, event in enumerate(self._ready) if event.is_set()]
        covered = {number: worker for number, worker in self._covered.items() if worker in ready}
        self._covered = cover(ready, self._count)
        for number, worker in self._covered.items():
            if covered.get(number) != worker:
                self._workers[worker].order(Order.LISTEN, number)
        for number, worker in covered.items():
            if self._covered[number] != worker:
                self._workers[worker].order(Order.REST, number)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    def _kill_all(self) -> None:
        for worker in self._workers.values():
            self._kill(worker)

    def _kill(self, worker: Process) -> None:
        if worker.running:
            _log.error("worker killed", number=worker.number, pid=worker.pid, after=self._stop_seconds)
            worker.kill()

    def _hangup(self) -> None:
        """Not only people send this signal: a terminal that is closed does, and then nobody is left to serve for."""
        if self._on_terminal and not os.isatty(0):
            self.stop()
        else:
            self.restart()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        meanings = {signal.SIGINT: self.stop, signal.SIGTERM: self.stop, signal.SIGHUP: self._hangup}
        for number, meaning in meanings.items():
            loop.add_signal_handler(number, meaning)
        try:
            yield
        finally:
            for number in meanings:
                loop.remove_signal_handler(number)


def _how(code: int) -> dict[str, int | str]:
    return {"status": code} if code >= 0 else {"signal": signal.Signals(-code).name}


def _exit_code(code: int) -> int:
    """The supervisor's, from that of a worker that should not have ended at all."""
    return (_SIGNALLED - code if code < 0 else code) or _FAULT
