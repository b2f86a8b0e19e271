"""Orders between processes: seen at once by a signal, soon without one, and none lost while the database is away."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.support.store_rig import migrated
from tidings.broker.base import Limits
from tidings.broker.memory import MemoryBroker
from tidings.delivery import orders as orders_file
from tidings.delivery.orders import Orders
from tidings.delivery.signals import Signals
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import TenantId
from tidings.store.database import Database

NEVER = 3600.0


class Notes:
    """Writes down what is to be enforced; fails so often first."""

    def __init__(self, failures: int = 0) -> None:
        self.given: asyncio.Queue[Order] = asyncio.Queue()
        self.reviews = 0
        self.failures = failures

    async def carry_out(self, given: Sequence[Order]) -> None:
        if self.failures:
            self.failures -= 1
            raise TidingsError(ErrorCode.UNAVAILABLE)
        for order in given:
            self.given.put_nowait(order)

    async def review(self) -> None:
        self.reviews += 1

    async def next(self) -> Order:
        async with asyncio.timeout(5):
            return await self.given.get()


def order(name: str) -> Order:
    return Order(OrderKind.TENANT, TenantId(name))


class House:
    """A database and a broker, to start processes on."""

    def __init__(self, database: Database, stack: AsyncExitStack) -> None:
        self.database = database
        self._stack = stack
        self._broker = MemoryBroker(Limits())

    async def process(self, notes: Notes, poll_seconds: float) -> Orders:
        signals = Signals(self._broker)
        made = Orders(self.database, signals, notes, poll_seconds=poll_seconds)
        await made.start()
        await self._stack.enter_async_context(running(made))
        return made

    async def give(self, orders: Orders, *names: str) -> None:
        async with self.database.write() as tx:
            await orders.give(tx, *map(order, names))


@asynccontextmanager
async def running(orders: Orders) -> AsyncIterator[None]:
    task = asyncio.create_task(orders.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture
async def house(sqlite_url: str) -> AsyncIterator[House]:
    async with migrated(sqlite_url) as database, AsyncExitStack() as stack:
        yield House(database, stack)


async def test_a_signal_has_them_carried_out_at_once(house: House) -> None:
    """A process that polls never sees what was committed when it is told so."""
    notes = Notes()
    orders = await house.process(notes, NEVER)
    await house.give(orders, "one", "two")
    orders.committed()
    assert [await notes.next(), await notes.next()] == [order("one"), order("two")]


async def test_without_a_signal(house: House) -> None:
    """ "Within 1 s", also while the broker is away: every process looks by itself, and sees each order once."""
    giving, hearing = Notes(), Notes()
    orders = await house.process(giving, NEVER)
    await house.process(hearing, 0.01)
    for name in ("one", "two", "three"):
        await house.give(orders, name)
        assert await hearing.next() == order(name)
    assert hearing.given.empty()


async def test_who_comes_later(house: House) -> None:
    """What was ordered before a process began is none of its business."""
    orders = await house.process(Notes(), NEVER)
    await house.give(orders, "before")
    notes = Notes()
    await house.process(notes, 0.01)
    await house.give(orders, "after")
    assert await notes.next() == order("after")


async def test_what_failed_is_done_again(house: House) -> None:
    """An order that could not be carried out is not forgotten."""
    notes = Notes(failures=3)
    orders = await house.process(notes, 0.01)
    await house.give(orders, "one")
    assert await notes.next() == order("one")
    assert notes.failures == 0


async def test_many_at_once(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """More than are read at once come in order all the same."""
    monkeypatch.setattr(orders_file, "_AT_ONCE", 3)
    notes, names = Notes(), [str(number) for number in range(10)]
    orders = await house.process(notes, NEVER)
    await house.give(orders, *names)
    orders.committed()
    assert [await notes.next() for _ in names] == [order(name) for name in names]


async def test_after_a_long_absence(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders are kept for minutes: who could not look for longer goes through everything."""
    monkeypatch.setattr(orders_file, "TRUSTED_SECONDS", -1.0)
    notes = Notes()
    orders = await house.process(notes, NEVER)
    await house.give(orders, "one")
    orders.committed()
    await notes.next()
    assert notes.reviews == 1
