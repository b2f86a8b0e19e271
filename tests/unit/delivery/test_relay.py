"""The relay: what was committed is published in order, once in effect, whatever fails in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime

import pytest

from tests.support import tables
from tests.support.broker_rig import ANN, BOB, JOB
from tidings import metrics
from tidings.broker.base import BrokerUnavailable, Limits
from tidings.broker.memory import MemoryBroker
from tidings.delivery import relay as relay_file
from tidings.delivery.relay import Relay
from tidings.domain.channel import Channel
from tidings.domain.event import Event, EventClass, Published
from tidings.domain.position import Position
from tidings.store import outbox
from tidings.store.database import Database


class Flaky(MemoryBroker):
    """The embedded broker, out of reach while ``away``."""

    away = False

    async def publish(self, batch: Sequence[tuple[Channel, Event]]) -> list[Position]:
        if self.away:
            raise BrokerUnavailable
        return await super().publish(batch)


class House:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.broker = Flaky(Limits())
        self.relay = Relay(database, self.broker, sweep_seconds=0.05, retry_seconds=0.01)
        self.heard: list[bytes] = []

    def deliver(self, published: Published) -> None:
        self.heard.append(published.event.data)

    async def commit(self, *rows: tuple[Channel, bytes], final: bool = False) -> None:
        klass = EventClass.FINAL if final else EventClass.STATE
        async with self.database.write() as tx:
            await outbox.append(tx, [(c, Event("e", data, klass)) for c, data in rows], datetime.now(UTC))

    async def left(self) -> int:
        async with self.database.read() as tx:
            return (await outbox.lag(tx)).count

    async def until_heard(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.heard) < count:  # noqa: ASYNC110  the broker's call-back is synchronous
                await asyncio.sleep(0.001)

    async def until_empty(self) -> None:
        async with asyncio.timeout(10):
            while await self.left():  # noqa: ASYNC110  the database tells nobody when it is empty
                await asyncio.sleep(0.005)


@asynccontextmanager
async def running(relay: Relay) -> AsyncIterator[None]:
    task = asyncio.create_task(relay.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    await tables.lay(sqlite_url)
    async with Database(sqlite_url) as database:
        made = House(database)
        await made.broker.start(made.deliver)
        await made.broker.subscribe([ANN, BOB, JOB])
        yield made


def progress(data: bytes) -> Event:
    return Event("e", data, EventClass.PROGRESS)


async def test_rows_are_published_in_order_and_deleted(house: House) -> None:
    """In the order of the commits, over all channels; nothing stays behind."""
    async with running(house.relay):
        for n in range(20):
            await house.commit((ANN if n % 2 else BOB, b"%d" % n))
            house.relay.kick()
        assert await house.relay.flushed()
        assert house.heard == [b"%d" % n for n in range(20)]
        await house.until_empty()


async def test_more_than_a_batch(house: House) -> None:
    """However many wait, all of them go out, in order."""
    count = relay_file.BATCH * 2 + 7
    await house.commit(*((ANN, b"%d" % n) for n in range(count)))
    async with running(house.relay):
        await house.until_heard(count)
        assert house.heard == [b"%d" % n for n in range(count)]
        await house.until_empty()


async def test_kicked_for_later(house: House) -> None:
    """What may wait is published in its time, or with what is kicked at once, and whoever waits for it learns of it."""
    house.relay = Relay(house.database, house.broker, sweep_seconds=1000)
    async with running(house.relay):
        assert await house.relay.flushed()
        await house.commit((ANN, b"1"))
        house.relay.kick(0.01)
        assert await house.relay.flushed()
        assert house.heard == [b"1"]
        await house.commit((ANN, b"2"))
        house.relay.kick(1000)
        await house.commit((ANN, b"3"))
        house.relay.kick()
        assert await house.relay.flushed()
        assert house.heard == [b"1", b"2", b"3"]


async def test_a_row_that_nobody_kicked_is_found(house: House) -> None:
    """A sweep finds what a crash between commit and kick left behind."""
    async with running(house.relay):
        await house.relay.flushed()
        await house.commit((ANN, b"orphan"))
        await house.until_heard(1)


async def test_an_absent_broker_loses_nothing(house: House) -> None:
    """Contract, section 9: "what was accepted is kept in the database's outbox and delivered in order"."""
    house.broker.away = True
    async with running(house.relay):
        for n in range(5):
            await house.commit((ANN, b"%d" % n))
            house.relay.kick()
        assert not await house.relay.flushed(0.05)
        assert house.heard == []
        assert await house.left() == 5
        house.broker.away = False
        await house.until_heard(5)
        assert house.heard == [b"%d" % n for n in range(5)]


async def test_a_crash_between_publishing_and_deleting_repeats_nothing(house: House) -> None:
    """The next relay publishes the row again with the same key, which the broker has seen."""
    await house.commit((ANN, b"once"))
    await house.relay._turn()
    assert house.heard == [b"once"]
    assert await house.left() == 1
    async with running(Relay(house.database, house.broker, sweep_seconds=0.01)):
        await house.until_empty()
    assert house.heard == [b"once"]


async def test_progress_keeps_its_place(house: House) -> None:
    """Behind the start that was kicked before it, and before the end that is stored when it has been told."""
    async with running(house.relay):
        for n in range(10):
            await house.commit((JOB, b"start"))
            house.relay.kick()
            for step in range(3):
                house.relay.progress(JOB, progress(b"%d" % step))
            await house.relay.told(JOB)
            await house.commit((JOB, b"end"), final=True)
            house.relay.kick()
            await house.until_heard((n + 1) * 5)
    assert house.heard == [b"start", b"0", b"1", b"2", b"end"] * 10


async def test_progress_does_not_wait_for_a_broker_that_is_away(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is given up after a second, so that the job can end; it never comes behind the end."""
    house.broker.away = True
    async with running(house.relay):
        house.relay.progress(JOB, progress(b"lost"))
        await house.relay.told(JOB)
        await house.commit((JOB, b"end"), final=True)
        house.broker.away = False
        house.relay.kick()
        await house.until_heard(1)
        assert await house.relay.flushed()
    assert house.heard == [b"end"]


async def test_progress_is_bounded(house: House) -> None:
    """A relay that stands still does not collect for ever."""
    for n in range(relay_file.PROGRESS_MAX + 100):
        house.relay.progress(JOB, progress(b"%d" % n))
    assert len(house.relay._progress) == relay_file.PROGRESS_MAX


async def test_progress_that_is_lost_is_counted(house: House) -> None:
    """Every drop has a counter: for a backlog, and for a broker that is away."""

    def dropped(reason: str) -> float:
        return metrics.REGISTRY.get_sample_value("tidings_progress_dropped_total", {"reason": reason}) or 0.0

    before = dropped("backlog"), dropped("unavailable")
    for n in range(relay_file.PROGRESS_MAX + 3):
        house.relay.progress(JOB, progress(b"%d" % n))
    assert dropped("backlog") == before[0] + 3
    house.broker.away = True
    with pytest.raises(BrokerUnavailable):
        await house.relay._turn()
    assert dropped("unavailable") == before[1] + relay_file.PROGRESS_MAX


async def test_what_waits_is_measured(house: House) -> None:
    """Metrics tell how many rows wait and how old the first is; published ones do not count."""
    house.broker.away = True
    await house.commit((ANN, b"1"), (ANN, b"2"))
    await house.relay.measure()
    assert metrics.REGISTRY.get_sample_value("tidings_relay_pending") == 2
    assert (metrics.REGISTRY.get_sample_value("tidings_relay_lag_seconds") or -1) >= 0
    house.broker.away = False
    await house.relay._turn()
    await house.relay.measure()
    assert metrics.REGISTRY.get_sample_value("tidings_relay_pending") == 0


async def test_stopping_deletes_what_was_published(house: House) -> None:
    """A process that ends in order leaves nothing for its successor to publish again."""
    async with running(house.relay):
        await house.commit((ANN, b"x"))
        house.relay.kick()
        await house.until_heard(1)
    assert await house.left() == 0
