"""A PostgreSQL of the benchmark's own, on a core, empty, as durable as it is by default."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from bench.harness.process import BenchmarkError, pinned

USER = "postgres"
_START_SECONDS = 20
_LOOK_SECONDS = 0.05


@contextlib.asynccontextmanager
async def postgres_server(*, cpu: int) -> AsyncIterator[str]:
    """The URL of its database.

    Raises:
        BenchmarkError: there is no PostgreSQL, or it does not start.
    """
    user = USER if os.geteuid() == 0 else None  # it refuses to run as root, and its package brings a user
    folder = Path(tempfile.mkdtemp(prefix="tidings-bench-pg-", dir="/tmp"))
    try:
        if user is not None:
            shutil.chown(folder, user, user)
        data, port = folder / "data", _free_port()
        await _run(_program("initdb"), "-D", str(data), "-U", USER, "--auth=trust", "--locale=C", user=user)
        options = ("-p", str(port), "-h", "127.0.0.1", "-k", str(folder))
        with pinned(cpu):
            process = await asyncio.create_subprocess_exec(
                _program("postgres"), "-D", str(data), *options, user=user, stdout=DEVNULL, stderr=DEVNULL
            )
        try:
            url = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
            await _answers(url)
            yield url
        finally:
            process.send_signal(signal.SIGINT)  # a fast shutdown: SIGTERM would wait for every client to go
            await process.wait()
    finally:
        shutil.rmtree(folder)


def _program(name: str) -> str:
    """The newest one; Debian keeps them off the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    program = str(found[-1]) if found else shutil.which(name)
    if program is None:
        raise BenchmarkError("no PostgreSQL: install the server (Debian: postgresql)")
    return program


async def _run(*command: str, user: str | None) -> None:
    process = await asyncio.create_subprocess_exec(*command, user=user, stdout=DEVNULL, stderr=PIPE)
    _, said = await process.communicate()
    if process.returncode:
        raise BenchmarkError(f"{command[0]} failed: {said.decode()}")


async def _answers(url: str) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                with contextlib.suppress(OSError, asyncpg.CannotConnectNowError):
                    await (await asyncpg.connect(url)).close()
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise BenchmarkError("postgres does not start") from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
