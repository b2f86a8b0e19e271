"""What runs in one worker: how much there is room for, and when its end is handed on."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import pytest

from tests.support import tables
from tests.support.job_kinds import KINDS, RELEASE
from tests.support.job_records import a_job
from tidings.artifacts.base import Source
from tidings.broker.base import Limits as BrokerLimits
from tidings.broker.memory import MemoryBroker
from tidings.delivery.relay import Relay
from tidings.domain.event import Published
from tidings.domain.job import Job
from tidings.jobs import attempt as attempt_file
from tidings.jobs.context import Stop
from tidings.jobs.executor import Executor, Limits
from tidings.jobs.kinds import Registry
from tidings.jobs.outcome import Cancelled, Done, Failed
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob


class Floor:
    """An executor of two slots, with a relay that runs when the test lets it."""

    def __init__(self, database: Database) -> None:
        kinds = Registry()
        for kind in KINDS:
            if not kind.plain:
                kinds.add(kind)
        self.broker = MemoryBroker(BrokerLimits())
        self.relay = Relay(database, self.broker, sweep_seconds=1000)
        self.heard: list[Published] = []
        self.certain = True
        self.wakes = 0
        limits = Limits(concurrency=2, grace=0)
        self.executor = Executor(
            kinds, self.relay, store, limits, self.wake, lambda: self.certain, lambda: 0.5
        )

    def wake(self) -> None:
        self.wakes += 1

    def run(self, kind: str, payload: dict[str, int] | None = None) -> attempt_file.Attempt:
        job = a_job(kind, payload)
        self.executor.run(StoredJob(job))
        return self.executor.attempts[job.id]


async def store(_job: Job, _name: str, _source: Source, _media_type: str) -> None:
    """Take everything."""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  what is waited for tells nobody
            await asyncio.sleep(0)


@pytest.fixture
async def floor(sqlite_url: str) -> AsyncIterator[Floor]:
    await tables.lay(sqlite_url)
    RELEASE.clear()
    async with Database(sqlite_url) as database:
        made = Floor(database)
        await made.broker.start(made.heard.append)
        await made.broker.subscribe([a_job("test.noop").channel])
        yield made
        RELEASE.set()
        await made.executor.close()


async def test_room(floor: Floor) -> None:
    """A slot is taken for as long as the code runs, and closing ends it."""
    assert floor.executor.free == 2
    floor.run("test.sleep")
    assert floor.executor.free == 1
    assert floor.executor.room(1)["test.noop"] == 1
    await floor.executor.close()
    assert (floor.executor.free, floor.executor.attempts) == (2, {})


async def test_what_has_ended(floor: Floor) -> None:
    """Its verdict is there to be settled, it is held until then, and the worker is woken."""
    attempt = floor.run("test.noop")
    await until(lambda: floor.wakes > 0)
    [ended] = floor.executor.ended
    assert ended.verdict == Done({"attempt": 1})
    assert ended.wait > 0
    assert floor.executor.attempts == {"job": attempt}
    floor.executor.drop(ended.job)
    assert floor.executor.attempts == {}


async def test_what_cannot_begin(floor: Floor) -> None:
    """It has ended before anything else happens, and takes no slot."""
    floor.run("test.count", {"many": 1})
    [ended] = floor.executor.ended
    assert isinstance(ended.verdict, Failed)
    assert floor.executor.free == 2


async def test_an_end_goes_behind_what_was_reported(floor: Floor) -> None:
    """Nothing is settled before its reports have been published: the end would overtake them."""
    attempt = floor.run("test.count", {"count": 3})
    await until(lambda: attempt.over)
    assert (floor.executor.ended, floor.heard) == ([], [])
    relaying = asyncio.create_task(floor.relay.run())
    await until(lambda: bool(floor.executor.ended))
    assert len(floor.heard) == 3
    relaying.cancel()
    with suppress(asyncio.CancelledError):
        await relaying


async def test_reports_of_a_job_that_may_be_lost(floor: Floor) -> None:
    """What may be another worker's by now is not told of, nor noted."""
    floor.certain = False
    floor.run("test.count", {"count": 3})
    relaying = asyncio.create_task(floor.relay.run())
    await until(lambda: bool(floor.executor.ended))
    assert await floor.relay.flushed()
    assert (floor.heard, floor.executor.news) == ([], set())
    relaying.cancel()
    with suppress(asyncio.CancelledError):
        await relaying


async def test_code_that_goes_on(floor: Floor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that takes no cancellation keeps its slot to its own end, but not its job."""
    monkeypatch.setattr(attempt_file, "GIVE_UP_SECONDS", 0.0)
    floor.certain = False
    attempt = floor.run("test.stubborn")
    await until(lambda: attempt.reported)
    attempt.ask(Stop.CANCELLED)
    await until(lambda: bool(floor.executor.ended))
    assert floor.executor.ended[0].verdict == Cancelled()
    assert floor.executor.free == 1
    RELEASE.set()
    await until(lambda: floor.executor.free == 2)
