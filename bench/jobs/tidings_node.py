"""Tidings in the jobs benchmark: one process that serves, runs jobs, or does both.

    --database URL   --broker URL   --folder PATH   as in the settings
    --serve          listen for HTTP
    --work           run jobs

Commands on stdin, one answer each on stdout:

    ready         -> ready JSON           {"port", "version", "tokens"}; port 0 unless it serves
    begun         -> begun JSON           when handlers of ``bench.noop`` began since it was last asked, by job:
                                          CLOCK_MONOTONIC in nanoseconds
    run N         -> ran NANOSECONDS      N jobs that wait, until each has ended and its last event is published
    end of file                           ends the process

The limits on requests are raised, and a worker runs 256 jobs at once; the rest is at its default.
"""

import argparse
import asyncio
import contextlib
import json
import signal
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

import uvloop
from pydantic import BaseModel

from bench.harness.emitter import Serving, stdin_lines
from bench.harness.tidings_server import BEYOND_REACH, SECRET, answers_apart_from_log, seed
from tidings import JobContext, job, log, metrics
from tidings.app import Node
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobPriority, JobStatus
from tidings.domain.people import TenantId, User
from tidings.jobs.queue import utc_now
from tidings.settings import Settings, load
from tidings.store import jobs, users
from tidings.store.job_rows import StoredJob

NOOP = "bench.noop"
CONCURRENCY = 256
_CHUNK = 500
_LOOK_SECONDS = 0.01

_begun: dict[str, int] = {}


class Nothing(BaseModel):
    """No payload."""


class Reports(BaseModel):
    count: int
    delay_ms: int


@job(NOOP)
async def noop(ctx: JobContext, _: Nothing) -> None:
    """Do nothing, and remember when."""
    _begun[ctx.job_id] = time.monotonic_ns()


@job("bench.tell")
async def tell(ctx: JobContext, payload: Reports) -> None:
    """Report at a pace, each time saying when: CLOCK_MONOTONIC in nanoseconds."""
    for number in range(payload.count):
        await asyncio.sleep(payload.delay_ms / 1000)
        ctx.progress(number / payload.count, str(time.monotonic_ns()))


async def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("database", "broker", "folder"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--work", action="store_true")
    options = parser.parse_args()
    folder = Path(options.folder)
    answers = answers_apart_from_log(folder / f"log-{new_id()}.jsonl")
    settings = load(
        var=folder,
        port=0,
        database_url=options.database,
        broker_url=options.broker,
        worker=options.work,
        jwt_secret=SECRET,
        rest_rate_per_minute=BEYOND_REACH,
        job_concurrency=CONCURRENCY,
        drain_seconds=0,
    )
    log.configure(level=settings.log_level)
    tenant, tokens = await seed(settings.database)
    async with Node(settings) as node, _listening(node, serve=options.serve) as port:
        serving = Serving(port, f"tidings {version('tidings')} on {_place(settings)}", tokens)
        await _drive(node, tenant, serving, answers)


def _place(settings: Settings) -> str:
    return "SQLite" if settings.database.startswith("sqlite") else "PostgreSQL and Redis"


@contextlib.asynccontextmanager
async def _listening(node: Node, *, serve: bool) -> AsyncIterator[int]:
    if not serve:
        yield 0
        return
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(node.serve(port.set_result))
        yield await port
        signal.raise_signal(signal.SIGTERM)


async def _drive(node: Node, tenant: TenantId, serving: Serving, answers: TextIO) -> None:
    async for line in stdin_lines():
        match line.split():
            case ["ready"]:
                answer = f"ready {json.dumps(asdict(serving))}"
            case ["begun"]:
                answer = f"begun {json.dumps(_begun)}"
                _begun.clear()
            case ["run", count]:
                answer = f"ran {await _run(node, tenant, int(count))}"
            case _:
                answer = f"error unknown command: {line}"
        print(answer, file=answers, flush=True)


async def _run(node: Node, tenant: TenantId, count: int) -> int:
    target = _finished() + count
    async with node.database.read() as tx:
        owners = (await users.page(tx, tenant, cursor=None, limit=_CHUNK)).items
    async with node.database.write() as tx:  # all in one, so that the worker sees none before the clock runs
        for first in range(0, count, _CHUNK):
            await jobs.insert(tx, _waiting(owners, min(_CHUNK, count - first)))
    worker = node.workshop.worker
    assert worker is not None, "it was started with --work"
    started = time.monotonic_ns()
    worker.wake()
    while _finished() < target:  # noqa: ASYNC110 - a counter tells nobody that it has grown
        await asyncio.sleep(_LOOK_SECONDS)
    while not await node.relay.flushed():
        pass
    return time.monotonic_ns() - started


def _finished() -> int:
    """Of this counter alone: to collect them all takes longer than what it looks at."""
    [counter] = metrics.jobs_finished.collect()
    wanted = {"kind": NOOP, "status": JobStatus.SUCCEEDED.value}
    return int(
        sum(each.value for each in counter.samples if each.name.endswith("_total") and each.labels == wanted)
    )


def _waiting(owners: Sequence[User], count: int) -> list[StoredJob]:
    now = utc_now()
    return [StoredJob(_queued(owners[number % len(owners)]), run_at=now) for number in range(count)]


def _queued(owner: User) -> Job:
    return Job(
        id=new_id(),
        tenant_id=owner.tenant_id,
        user_id=owner.id,
        kind=NOOP,
        status=JobStatus.QUEUED,
        stage=None,
        progress=0.0,
        attempt=0,
        max_attempts=3,
        priority=JobPriority.STANDARD,
        payload={},
        result=None,
        error=None,
        parent_id=None,
        artifacts=(),
        created_at=utc_now(),
        started_at=None,
        finished_at=None,
    )


if __name__ == "__main__":
    uvloop.run(main())
