"""The servers that are compared: how each is made ready and started, and how a running one is driven."""

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from bench.harness.emitter import Serving
from bench.harness.process import BenchmarkError, LineProcess, running

NODE = Path(__file__).parent / "node"
WINDOW = 128
"""Messages that may be on their way to the slowest connection while a server emits at full speed."""


@dataclass(frozen=True, slots=True)
class Server:
    """``command`` makes ready what the server needs and returns its command line, or raises BenchmarkError."""

    name: str
    command: Callable[[], list[str]]


@dataclass(frozen=True, slots=True)
class Emitted:
    """``started`` is in nanoseconds of CLOCK_MONOTONIC."""

    count: int
    started: int


class RunningServer:
    """One server, driven with the commands that ``emitter`` describes."""

    def __init__(self, process: LineProcess, serving: Serving) -> None:
        self.serving = serving
        self._process = process

    @property
    def ack_fd(self) -> int:
        return self._process.stdin_fd

    async def emit(self, *, seconds: float, burst: int) -> Emitted:
        """Publish at full speed for so long, so many messages in each turn of the event loop."""
        command = f"emit {round(seconds * 1000)} {burst} {WINDOW}"
        count, started = (await self._process.ask(command, seconds=seconds + 60)).split()
        return Emitted(int(count), int(started))

    async def pace(self, *, count: int, interval: float) -> None:
        """Publish so many messages, one every ``interval`` seconds, numbered from 0."""
        await self._process.ask(f"pace {count} {round(interval * 1000)}", seconds=count * interval + 60)

    def cpu_seconds(self) -> float:
        """The processor time used until now."""
        return self._process.cpu_seconds()

    async def quiet(self) -> None:
        """Return once the server has nothing to do."""
        await self._process.settled()

    async def quiet_memory(self) -> int:
        """The resident bytes, once the server is idle and its garbage collected."""
        await self.quiet()
        await self._process.ask("collect")
        return self._process.resident_bytes()


@contextlib.asynccontextmanager
async def serving(server: Server, *, cpu: int, folder: Path) -> AsyncIterator[RunningServer]:
    """A server on one core, ready for connections; its temporary files are made in the folder."""
    environment = {"TMPDIR": str(folder)}
    async with running(server.name, server.command(), cpu=cpu, environment=environment) as process:
        facts = json.loads(await process.ask("ready"))
        yield RunningServer(process, Serving(facts["port"], facts["version"], tuple(facts["tokens"])))


def python_server(name: str, module: str, *options: str) -> Server:
    """A module that is run with this interpreter."""
    return Server(name, lambda: [sys.executable, "-m", module, *options])


def node_server(*options: str) -> Server:
    """Node's socket.io, with the options that ``node/server.js`` describes."""

    return Server("socket.io", lambda: node_program("server.js", *options))


def node_program(name: str, *options: str) -> list[str]:
    """The command line of a program in ``node/``, whose packages are there.

    Raises:
        BenchmarkError: node or npm is missing, or the packages cannot be installed.
    """
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise BenchmarkError(f"{name} needs node and npm; --servers chooses others")
    _install_packages(npm)
    return [node, "--expose-gc", str(NODE / name), *options]


def tidings_server(*options: str) -> Server:
    """Tidings, with the options that ``tidings_server`` describes."""
    return python_server("Tidings", "bench.harness.tidings_server", *options)


TIDINGS = tidings_server()


def _install_packages(npm: str) -> None:
    """What the lock file names, unless it is there already. No package's own scripts are run.

    Several benchmarks at once take turns.
    """
    with (NODE / "package.json").open() as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        _install_in_turn(npm)


def _install_in_turn(npm: str) -> None:
    installed, locked = NODE / "node_modules" / ".package-lock.json", NODE / "package-lock.json"
    if installed.exists() and installed.stat().st_mtime >= locked.stat().st_mtime:
        return
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    result = subprocess.run(command, cwd=NODE, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise BenchmarkError(f"npm ci failed in {NODE}:\n{result.stderr}")
