"""Programs that are asked with lines: how they are started, pinned, asked and observed.

A program reads commands from its stdin and answers each on its stdout with one line. Nothing here knows what
the commands mean. Linux only: affinity and ``/proc``.
"""

import asyncio
import contextlib
import os
import resource
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

LINE_LIMIT = 1 << 20
"""Bytes of the longest answer: a server's one with its tokens."""

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class BenchmarkError(Exception):
    """The benchmark cannot go on. The message is for whoever started it."""


class LineProcess:
    """A running program. ``stdin_fd`` may be handed to another program, which then gives commands as well."""

    def __init__(self, name: str, process: Process, stdin_fd: int) -> None:
        self.name = name
        self.stdin_fd = stdin_fd
        self._process = process

    def tell(self, command: str) -> None:
        """Give a command that has no answer."""
        os.write(self.stdin_fd, f"{command}\n".encode())

    async def ask(self, command: str, *, seconds: float = 60) -> str:
        """Give a command and return its answer without the first word.

        Raises:
            BenchmarkError: the program answered ``error``, ended, or was silent for so many seconds.
        """
        self.tell(command)
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(seconds):
                line = (await self._process.stdout.readline()).decode().strip()
        except TimeoutError:
            raise BenchmarkError(f"{self.name} did not answer {command!r} in {seconds:g} s") from None
        word, _, rest = line.partition(" ")
        if word == "error":
            raise BenchmarkError(f"{self.name}: {rest}")
        if not word:
            raise BenchmarkError(f"{self.name} ended unexpectedly")
        return rest

    def resident_bytes(self) -> int:
        """The resident set size (RSS)."""
        fields = Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * _PAGE

    def cpu_seconds(self) -> float:
        """The processor time used until now, by all threads."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    async def settled(self, *, window: float = 0.5, share: float = 0.05, seconds: float = 30) -> None:
        """Return once the program has used less than ``share`` of a core over a ``window`` of seconds.

        Raises:
            BenchmarkError: it is still busy after so many seconds.
        """
        used = self.cpu_seconds()
        for _ in range(int(seconds / window)):
            await asyncio.sleep(window)
            before, used = used, self.cpu_seconds()
            if used - before < share * window:
                return
        raise BenchmarkError(f"{self.name} does not come to rest")


@contextlib.asynccontextmanager
async def running(
    name: str,
    command: Sequence[str],
    *,
    cpu: int,
    environment: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[LineProcess]:
    """Start a program on one core; at the end close its stdin, which ends it, and see that it is gone."""
    reading, writing = os.pipe()
    try:
        with pinned(cpu):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=reading,
                stdout=PIPE,
                env={**os.environ, **(environment or {})},
                pass_fds=pass_fds,
                limit=LINE_LIMIT,
            )
    except BaseException:
        os.close(writing)
        raise
    finally:
        os.close(reading)
    try:
        yield LineProcess(name, process, writing)
    finally:
        os.close(writing)
        await _ended(process)


async def _ended(process: Process, *, seconds: float = 15) -> None:
    try:
        async with asyncio.timeout(seconds):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


@contextlib.contextmanager
def pinned(cpu: int) -> Iterator[None]:
    """Programs started meanwhile, with all their threads, run on this core alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def two_cores() -> tuple[int, int]:
    """A core for the server and one for everything else, the same one where there is no other.

    The first core tends to serve the machine's interrupts, so the server gets the last.
    """
    cores = sorted(os.sched_getaffinity(0))
    return cores[-1], cores[0]


def allow_descriptors(count: int) -> None:
    """Raise the soft limit of open files, for this process and those it starts.

    Raises:
        BenchmarkError: the hard limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        raise BenchmarkError(f"{count} open files are needed, the limit is {hard}: see ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
