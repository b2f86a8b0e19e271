"""How every benchmark runs: its options, its cores, its rounds, and what it prints. Knows no figure."""

import argparse
import asyncio
import contextlib
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from bench.harness.process import BenchmarkError, allow_descriptors, pinned, two_cores
from bench.harness.report import Report, Trial

SPARE_DESCRIPTORS = 300


class Named(Protocol):
    """Who is compared."""

    @property
    def name(self) -> str: ...


One = TypeVar("One", bound=Named)


@dataclass(frozen=True, slots=True)
class Rig:
    """Where a trial runs: a folder for temporary files, a core for the server, one for the clients."""

    folder: Path
    server_cpu: int
    client_cpu: int


def options_of(name: str, about: str | None, servers: Sequence[Named]) -> argparse.ArgumentParser:
    """The options that all benchmarks have: ``--connections``, ``--rounds``, ``--servers``, ``--json``."""
    names = [server.name for server in servers]
    parser = argparse.ArgumentParser(prog=f"python -m bench.{name}", description=about)
    parser.add_argument("--connections", type=positive_int, default=1000)
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument(
        "--servers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    return parser


def positive(text: str) -> float:
    """An option's value above 0."""
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def positive_int(text: str) -> int:
    """An option's whole value above 0."""
    return int(positive(str(int(text))))


def print_report(benchmark: Coroutine[None, None, Report], *, as_json: bool) -> int:
    """Run a benchmark and print what it found. 0: done; 1: it could not be done."""
    try:
        report = asyncio.run(benchmark)
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(report.document(), indent=2) if as_json else report.table())
    return 0


@contextlib.contextmanager
def rig(connections: int) -> Iterator[Rig]:
    """Two cores and a folder; this process keeps to the clients' core.

    Raises:
        BenchmarkError: so many connections cannot be opened here.
    """
    allow_descriptors(connections + SPARE_DESCRIPTORS)
    server_cpu, client_cpu = two_cores()
    if server_cpu == client_cpu:
        _note("one core only: server and clients share it, the figures are lower than they could be")
    with pinned(client_cpu), tempfile.TemporaryDirectory(prefix="tidings-bench-") as name:
        yield Rig(Path(name), server_cpu, client_cpu)


async def take_turns(
    servers: Sequence[One], rounds: int, measure: Callable[[One], Awaitable[Trial]]
) -> dict[str, list[Trial]]:
    """All rounds, the servers in turn, so that a slow minute of the machine meets them all."""
    trials: dict[str, list[Trial]] = {server.name: [] for server in servers}
    for number in range(rounds):
        for server in servers:
            _note(f"round {number + 1} of {rounds}: {server.name}")
            trials[server.name].append(await measure(server))
    return trials


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
