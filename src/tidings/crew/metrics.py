"""The metrics of a crew: each worker tells its own on a Unix socket, and whoever is asked sums those that answer.

How a metric's values become one is decided where it is named (``tidings.metrics``).
"""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from tidings import metrics
from tidings.domain.crew import Crew

ANSWER_SECONDS = 1.0
"""A worker that needs longer is left out."""

_CHUNK_BYTES = 65_536

Sample = tuple[str, dict[str, str], float]
Family = tuple[str, str, str, list[Sample]]
"""Name, help and type of a metric, with its samples."""


@contextlib.asynccontextmanager
async def telling(path: Path) -> AsyncIterator[None]:
    """Tell this process's metrics to whoever connects there."""

    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            writer.write(json.dumps(list(_own())).encode())
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(tell, path)
    try:
        yield
    finally:
        server.close()


def summed(crew: Crew) -> CollectorRegistry:
    """The metrics of all workers as one. To collect them blocks, for ``ANSWER_SECONDS`` at most."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Sum([crew.metrics(number) for number in range(crew.count)]))
    return registry


def merge(answers: Iterable[Sequence[Family]]) -> list[Metric]:
    """What several processes told, as if it were one."""
    merged: dict[str, Metric] = {}
    values: dict[tuple[str, str, tuple[tuple[str, str], ...]], list[float]] = {}
    for family, text, kind, samples in (family for answer in answers for family in answer):
        merged.setdefault(family, Metric(family, text, kind))
        for name, labels, value in samples:
            values.setdefault((family, name, tuple(labels.items())), []).append(value)
    for (family, name, labelled), found in values.items():
        merged[family].add_sample(name, dict(labelled), metrics.over_workers(name)(found))
    return list(merged.values())


class _Sum(Collector):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def collect(self) -> Iterator[Metric]:
        deadline = time.monotonic() + ANSWER_SECONDS
        with ThreadPoolExecutor(len(self._paths)) as pool:
            asked = pool.map(lambda path: _ask(path, deadline), self._paths)
            answers = [answer for answer in asked if answer is not None]
        yield from merge(answers)
        workers = Metric("tidings_workers", "Worker processes that these metrics are of", "gauge")
        workers.add_sample("tidings_workers", {}, len(answers))
        yield workers


def _own() -> Iterator[Family]:
    for family in metrics.REGISTRY.collect():
        samples = [(sample.name, dict(sample.labels), sample.value) for sample in family.samples]
        yield family.name, family.documentation, family.type, samples


def _ask(path: Path, deadline: float) -> Sequence[Family] | None:
    """What the worker there tells; None if it does not answer in time, or is not there."""
    told = bytearray()
    with socket.socket(socket.AF_UNIX) as sock, contextlib.suppress(OSError, ValueError):
        sock.settimeout(deadline - time.monotonic())
        sock.connect(str(path))
        while chunk := sock.recv(_CHUNK_BYTES):
            told += chunk
            # However slowly the parts come, the whole has one deadline; what is over it is a ValueError.
            sock.settimeout(deadline - time.monotonic())
        answer: list[Family] = json.loads(told)
        return answer
    return None
