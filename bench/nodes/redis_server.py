"""A Redis of the benchmark's own, on a core, empty, keeping nothing on disk."""

import asyncio
import contextlib
import shutil
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Refused

from bench.harness.process import BenchmarkError, pinned

_START_SECONDS = 10
_LOOK_SECONDS = 0.02


@contextlib.asynccontextmanager
async def redis_server(folder: Path, *, cpu: int) -> AsyncIterator[Redis]:
    """A connection to it; its address is ``url_of``.

    Raises:
        BenchmarkError: there is no redis-server, or it does not start.
    """
    program = shutil.which("redis-server")
    if program is None:
        raise BenchmarkError("no redis-server: install Redis >= 7 (Debian: redis-server)")
    port = _free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder))
    with pinned(cpu):
        process = await asyncio.create_subprocess_exec(program, *options, stdout=DEVNULL)
    try:
        async with Redis(port=port) as client:
            await _answers(client)
            yield client
    finally:
        process.terminate()
        await process.wait()


def url_of(client: Redis) -> str:
    return f"redis://127.0.0.1:{port_of(client)}/0"


def port_of(client: Redis) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


async def _answers(client: Redis) -> None:
    try:
        async with asyncio.timeout(_START_SECONDS):
            while True:
                with contextlib.suppress(Refused):
                    await client.ping()
                    return
                await asyncio.sleep(_LOOK_SECONDS)
    except TimeoutError:
        raise BenchmarkError("redis-server does not start") from None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])
