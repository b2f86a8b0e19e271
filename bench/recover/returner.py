"""The driver's side of ``returner.c``: build it, start it, ask it. What its clients check is said there."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.harness.compiler import build
from bench.harness.process import LineProcess, running

SOURCE = Path(__file__).with_suffix(".c")


@dataclass(frozen=True, slots=True)
class Returned:
    """How many clients came back, and how many of them kept their pid and got exactly what they had missed.

    ``seconds`` is from the first connect() until the last of the recovered has the last event;
    ``cpu_seconds`` the clients' own processor time in them.
    """

    clients: int
    recovered: int
    seconds: float
    cpu_seconds: float


class Returner:
    """Many clients of one server. Every method raises BenchmarkError when one of them gives up."""

    def __init__(self, process: LineProcess) -> None:
        self._process = process

    async def connect(self, count: int) -> None:
        """So many clients more, at most 64 at a time."""
        await self._process.ask(f"connect {count}")

    async def received(self, count: int) -> None:
        """Wait until every client has so many events."""
        await self._process.ask(f"wait {count}")

    async def cut(self) -> None:
        """Cut all connections, without a word but TCP's RST."""
        await self._process.ask("cut")

    async def come_back(self, missed: int) -> Returned:
        """All at once; wait until each has the events that were missed, or was told that it is a stranger."""
        used = self._process.cpu_seconds()
        clients, recovered, nanoseconds = (await self._process.ask(f"return {missed}", seconds=120)).split()
        cpu_seconds = self._process.cpu_seconds() - used
        return Returned(int(clients), int(recovered), int(nanoseconds) / 1e9, cpu_seconds)

    async def close(self) -> None:
        """Close all, each with a closing handshake."""
        await self._process.ask("close")


def build_returner(folder: Path) -> Path:
    """Compile the returner into a folder, or raise BenchmarkError."""
    return build(folder, "returner", [SOURCE])


@contextlib.asynccontextmanager
async def returning(program: Path, *, port: int, tokens: Sequence[str], cpu: int) -> AsyncIterator[Returner]:
    """A running returner for the server on a port of 127.0.0.1."""
    async with running("the returner", [str(program), str(port)], cpu=cpu) as process:
        for token in tokens:
            process.tell(f"token {token}")
        yield Returner(process)
