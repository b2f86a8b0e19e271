"""The driver's side of ``receiver.c``: build it, start it, ask it. What it counts is said there."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness.compiler import build
from bench.harness.process import LineProcess, running

SOURCE = Path(__file__).with_suffix(".c")
STEP = 32
"""The receiver acknowledges every so many messages that all its connections have received."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Percentiles over ``count`` deliveries, in seconds from emit to receipt."""

    count: int
    p50: float
    p99: float


class Receiver:
    """Many Socket.IO clients of one server. Every method raises BenchmarkError when the receiver gives up."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def connect(self, count: int) -> float:
        """Open so many connections more; the seconds from the first connect to the last CONNECT answer."""
        _, nanoseconds = (await self._process.ask(f"connect {count}")).split()
        return int(nanoseconds) / 1e9

    async def close(self) -> None:
        """Close all connections, each with a closing handshake."""
        await self._process.ask("close")

    async def begin(self, *, time_every: int = 0) -> None:
        """Forget all counts, and from now on time every so-manieth message of each connection (0: none)."""
        await self._process.ask(f"begin {time_every}")

    async def received(self, count: int) -> int:
        """Wait until every connection has exactly so many messages: when the last came, in nanoseconds."""
        _, last = (await self._process.ask(f"wait {count}", seconds=120)).split()
        return int(last)

    async def latency(self) -> Latency:
        """Of the messages timed since ``begin``."""
        count, p50, p99 = (await self._process.ask("latency")).split()
        return Latency(int(count), int(p50) / 1e9, int(p99) / 1e9)


def build_receiver(folder: Path) -> Path:
    """Compile the receiver into a folder, or raise BenchmarkError."""
    return build(folder, "receiver", [SOURCE])


@contextlib.asynccontextmanager
async def receiving(
    program: Path, *, port: int, tokens: Sequence[str], ack_fd: int, cpu: int
) -> AsyncIterator[Receiver]:
    """A running receiver for the server on a port of 127.0.0.1, acknowledging to a descriptor."""
    command = [str(program), str(port), str(STEP), str(ack_fd)]
    async with running("the receiver", command, cpu=cpu, pass_fds=[ack_fd]) as process:
        for token in tokens:
            process.tell(f"token {token}")
        yield Receiver(process)
