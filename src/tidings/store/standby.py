"""Strokes at hand: to take a connection out of SQLAlchemy's pool and put it back takes longer than most of what it is for.

A few are kept out of the pool while nobody uses them. It runs no statement, and knows nothing of transactions: who has
a stroke leaves its connection in none, or invalidated.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import NamedTuple

from sqlalchemy.ext.asyncio import AsyncEngine

from tidings.store.engine import RECYCLE_SECONDS, connected
from tidings.store.stroke import Shelf, Stroke


class Held(NamedTuple):
    """A stroke, its connection's way back to the pool, and when (the loop's time) it goes there."""

    stroke: Stroke
    way: AsyncExitStack
    until: float

    @property
    def good(self) -> bool:
        return self.stroke.usable and _time() < self.until


class Standby:
    """At most ``size`` connections of the engine's pool, which gives all the others. ``shelf`` is for one dialect."""

    def __init__(self, engine: AsyncEngine, size: int, shelf: Shelf) -> None:
        self._engine = engine
        self._size = size
        self._shelf = shelf
        self._idle: list[Held] = []

    @asynccontextmanager
    async def stroke(self) -> AsyncIterator[Stroke]:
        """One for the time of the block, in no transaction.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        held = await self._take()
        try:
            yield held.stroke
        finally:
            if len(self._idle) < self._size and held.good:
                self._idle.append(held)
            else:
                await _return(held)

    async def close(self) -> None:
        """Put back what nobody uses, and keep nothing any more."""
        self._size = 0
        while self._idle:
            await _return(self._idle.pop())

    async def _take(self) -> Held:
        while self._idle:
            held = self._idle.pop()
            if held.good:
                return held
            await _return(held)
        async with AsyncExitStack() as way:
            connection = await way.enter_async_context(connected(self._engine))
            driver = (await connection.get_raw_connection()).driver_connection
            assert driver is not None, "it was lent by the pool a moment ago"
            stroke = Stroke(connection, driver, self._shelf)
            return Held(stroke, way.pop_all(), _time() + RECYCLE_SECONDS)


async def _return(held: Held) -> None:
    """Back to the pool, which would lend one that is closed again if it was not told."""
    if held.stroke.driver.is_closed():
        await held.stroke.connection.invalidate()
    await held.way.aclose()


def _time() -> float:
    return asyncio.get_running_loop().time()
