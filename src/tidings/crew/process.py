"""A worker process as its supervisor sees it: started, ready, told what to do, ended."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Sequence

from tidings.crew.lifeline import DEPARTING, READY, Order

Command = Callable[[int, int], Sequence[str]]
"""How a worker is started: from its number and the descriptor of its lifeline, the words of the command."""


class Process:
    """``start`` makes one. Standard output and error are the supervisor's."""

    def __init__(
        self,
        number: int,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.number = number
        self.pid = process.pid
        self._process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, command: Command, number: int, listeners: Sequence[socket.socket]) -> "Process":
        """A fresh interpreter that inherits the listeners.

        Raises:
            OSError: no process can be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            inherited = [theirs.fileno(), *(listener.fileno() for listener in listeners)]
            try:
                process = await asyncio.create_subprocess_exec(
                    *command(number, theirs.fileno()),
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=inherited,
                )
            except BaseException:
                ours.close()
                raise
        return cls(number, process, *await asyncio.open_unix_connection(sock=ours))

    async def ready(self) -> bool:
        """Wait until it serves; False if it ended before."""
        with contextlib.suppress(ConnectionError):
            return await self._reader.readline() == READY
        return False

    async def departing(self) -> bool:
        """Wait until it says that it has to go, or has ended; False if it has not said so. After ``ready``."""
        said = asyncio.ensure_future(self._reader.readline())
        # What a dead worker has forked may hold its end of the lifeline.
        ended = asyncio.ensure_future(self._process.wait())
        try:
            await asyncio.wait((said, ended), return_when=asyncio.FIRST_COMPLETED)
            with contextlib.suppress(ConnectionError):
                return said.done() and said.result() == DEPARTING
            return False
        finally:
            said.cancel()
            ended.cancel()

    async def ended(self) -> int:
        """Wait for its end; the exit code, negative for a signal."""
        code = await self._process.wait()
        self._writer.close()
        return code

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    def order(self, order: Order, number: int | None = None) -> None:
        """Say it; nothing to a worker that has ended."""
        if self.running:
            self._writer.write(f"{order} {'' if number is None else number}\n".encode())

    def stop(self) -> None:
        """Ask it to drain and end; while it is starting it just ends."""
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
