"""The driver's side of ``connector.c``: build it, start it, ask it. What a client does is said there."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bench.harness.compiler import build
from bench.harness.process import LineProcess, running

_FOLDER = Path(__file__).parent


class Transport(StrEnum):
    """How a client comes in, and whether it stays there."""

    WEBSOCKET = "websocket"
    POLLING = "polling"
    UPGRADE = "upgrade"


@dataclass(frozen=True, slots=True)
class Connecting:
    """Seconds from the first connect() to the last answer, and the clients' own processor time in them."""

    seconds: float
    cpu_seconds: float


class Connector:
    """Many clients of one server. Every method raises BenchmarkError when one of them gives up."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def connect(self, count: int) -> Connecting:
        """So many clients more, at most 64 at a time."""
        used = self._process.cpu_seconds()
        _, nanoseconds = (await self._process.ask(f"connect {count}")).split()
        return Connecting(int(nanoseconds) / 1e9, self._process.cpu_seconds() - used)

    async def close(self) -> None:
        """Close all, each with a closing handshake; not for clients that only poll."""
        await self._process.ask("close")


def build_connector(folder: Path) -> Path:
    """Compile the connector into a folder, or raise BenchmarkError."""
    return build(folder, "connector", sorted(_FOLDER.glob("*.c")))


@contextlib.asynccontextmanager
async def connecting(
    program: Path, *, port: int, tokens: Sequence[str], transport: Transport, cpu: int
) -> AsyncIterator[Connector]:
    """A running connector for the server on a port of 127.0.0.1, whose clients all use one transport."""
    command = [str(program), str(port), transport]
    async with running("the connector", command, cpu=cpu) as process:
        for token in tokens:
            process.tell(f"token {token}")
        yield Connector(process)
