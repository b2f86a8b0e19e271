"""One trial: how soon an idle worker begins a job, how many it does at full speed, how soon its news arrive."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from redis.asyncio import Redis

from bench.harness.emitter import Serving
from bench.harness.process import LineProcess, running
from bench.harness.report import Trial
from bench.harness.run import Rig
from bench.harness.servers import node_program
from bench.jobs.client import Client
from bench.jobs.figures import Figures, percentiles
from bench.jobs.postgres_server import postgres_server
from bench.nodes.redis_server import redis_server, url_of

INTERVAL = 0.025
"""Seconds between jobs that an idle worker is handed, and between reports."""
WARM_UP = 500
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Plan:
    rounds: int
    jobs: int
    starts: int
    events: int


class Subject(Protocol):
    """A queue with one worker process."""

    version: str

    async def starts(self, count: int) -> list[float]:
        """How long each of so many jobs took from being handed in to the first line of its handler, in ms."""

    async def run(self, count: int) -> tuple[float, float]:
        """Seconds for so many jobs that do nothing, and the worker's processor time in them."""

    async def delays(self, count: int) -> list[float]:
        """How long each of so many reports took to a client that follows the job, in ms; none: there is no such."""


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    open: "Opened"


class Opened(Protocol):
    def __call__(self, rig: Rig) -> AbstractAsyncContextManager[Subject]: ...


async def measure(contender: Contender, plan: Plan, rig: Rig) -> Trial:
    """Run one trial, or raise BenchmarkError: one of its processes failed."""
    async with contender.open(rig) as subject:
        await subject.run(WARM_UP)
        await subject.starts(plan.starts // 4)
        start_p50, start_p99 = percentiles(await subject.starts(plan.starts))
        seconds, cpu = await subject.run(plan.jobs)
        delays = await subject.delays(plan.events)
        version = subject.version
    event_p50, event_p99 = percentiles(delays) if delays else (None, None)
    figures = Figures(start_p50, start_p99, plan.jobs / seconds, cpu * 1000 / plan.jobs, event_p50, event_p99)
    return Trial(version, asdict(figures))


class _Tidings:
    """``client`` hands in to the process that serves, which may be the same as the worker."""

    def __init__(self, worker: LineProcess, version: str, client: Client) -> None:
        self.version = version
        self._worker = worker
        self._client = client

    async def starts(self, count: int) -> list[float]:
        await self._worker.ask("begun")
        sent = await asyncio.to_thread(self._client.paced, "bench.noop", count, INTERVAL)
        await self._worker.settled()
        begun = json.loads(await self._worker.ask("begun"))
        return [(begun[job_id] - moment) / 1e6 for job_id, moment in sent.items()]

    async def run(self, count: int) -> tuple[float, float]:
        await self._worker.settled()
        used = self._worker.cpu_seconds()
        nanoseconds = await self._worker.ask(f"run {count}", seconds=SECONDS)
        return int(nanoseconds) / 1e9, self._worker.cpu_seconds() - used

    async def delays(self, count: int) -> list[float]:
        reports = {"count": count, "delay_ms": round(INTERVAL * 1000)}
        return await asyncio.to_thread(self._client.delays, "bench.tell", reports)


@contextlib.asynccontextmanager
async def embedded(rig: Rig) -> AsyncIterator[Subject]:
    """One process of Tidings, on SQLite."""
    folder = _folder(rig)
    given = ("--database", f"sqlite:///{folder / 'tidings.db'}", "--broker", "memory://", "--serve", "--work")
    async with _node(rig, folder, *given) as (node, serving):
        with _client(serving) as client:
            yield _Tidings(node, serving.version, client)


@contextlib.asynccontextmanager
async def scaled(rig: Rig) -> AsyncIterator[Subject]:
    """A process of Tidings that serves and one that works, on PostgreSQL and Redis."""
    folder = _folder(rig)
    async with (
        postgres_server(cpu=rig.client_cpu) as database,
        redis_server(folder, cpu=rig.client_cpu) as redis,
    ):
        given = ("--database", database, "--broker", url_of(redis))
        async with (
            _node(rig, folder, *given, "--serve") as (_, serving),
            _node(rig, folder, *given, "--work") as (worker, _),
        ):
            with _client(serving) as client:
                yield _Tidings(worker, serving.version, client)


class _BullMq:
    version: str

    def __init__(self, process: LineProcess, version: str) -> None:
        self.version = version
        self._process = process

    async def starts(self, count: int) -> list[float]:
        answer = await self._process.ask(f"starts {count} {round(INTERVAL * 1000)}", seconds=SECONDS)
        return [nanoseconds / 1e6 for nanoseconds in json.loads(answer)]

    async def run(self, count: int) -> tuple[float, float]:
        used = self._process.cpu_seconds()
        nanoseconds = await self._process.ask(f"run {count}", seconds=SECONDS)
        return int(nanoseconds) / 1e9, self._process.cpu_seconds() - used

    async def delays(self, count: int) -> list[float]:
        return []


@contextlib.asynccontextmanager
async def bullmq(rig: Rig) -> AsyncIterator[Subject]:
    """One process of Node that hands in and works, on Redis."""
    async with redis_server(_folder(rig), cpu=rig.client_cpu) as redis:
        command = node_program("bullmq.js", str(_port(redis)))
        async with running("BullMQ", command, cpu=rig.server_cpu) as process:
            yield _BullMq(process, await process.ask("ready"))


@contextlib.asynccontextmanager
async def _node(rig: Rig, folder: Path, *options: str) -> AsyncIterator[tuple[LineProcess, Serving]]:
    command = [sys.executable, "-m", "bench.jobs.tidings_node", "--folder", str(folder), *options]
    async with running("Tidings", command, cpu=rig.server_cpu) as process:
        facts = json.loads(await process.ask("ready"))
        yield process, Serving(facts["port"], facts["version"], tuple(facts["tokens"]))


def _client(serving: Serving) -> contextlib.closing[Client]:
    return contextlib.closing(Client(serving.port, serving.tokens[0]))


def _folder(rig: Rig) -> Path:
    """A fresh one."""
    folder = rig.folder / f"jobs-{len(list(rig.folder.iterdir()))}"
    folder.mkdir()
    return folder


def _port(redis: Redis) -> int:
    return int(redis.connection_pool.connection_kwargs["port"])
