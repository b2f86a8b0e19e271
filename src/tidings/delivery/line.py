"""How a relay takes rows out of the outbox: alone on SQLite, by turns with other processes on PostgreSQL.

Neither is needed for the promise that a row takes effect once: its key is. What they spare is work: several
relays would publish every row as often as there are of them. Nothing is published here.
"""

import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

from tidings.store import outbox
from tidings.store.database import Database
from tidings.store.outbox import Lag, Waiting

LITTER = 250
"""Rows that may have been taken and not been deleted yet."""
LITTER_SECONDS = 0.5
"""How long they may wait while there is always more to take."""


class Line(Protocol):
    """The outbox, as a relay sees it."""

    @property
    def littered(self) -> bool:
        """Whether ``clear`` has something to do."""

    def take(self, limit: int) -> AbstractAsyncContextManager[list[Waiting]]:
        """The first ``limit`` in line, or more. They are out of it if the block ends well.

        Raises:
            TidingsError: UNAVAILABLE; at the end of the block too, and then they may be taken again.
        """

    async def clear(self) -> None:
        """Delete what was taken.

        Raises:
            TidingsError: UNAVAILABLE.
        """

    async def lag(self) -> Lag:
        """What has not been taken.

        Raises:
            TidingsError: UNAVAILABLE.
        """


def line(database: Database) -> Line:
    """The one that suits the database."""
    return SharedLine(database) if database.shared else OwnLine(database)


class SharedLine:
    """One process at a time takes and publishes; the next finds what was committed meanwhile.

    Turns keep the order: a row is not passed over because somebody else may be at it.
    """

    littered = False

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def take(self, limit: int) -> AsyncIterator[list[Waiting]]:
        async with self._database.strokes() as tx:
            await outbox.wait_turn(tx)
            yield await outbox.take(tx, limit)

    async def clear(self) -> None:
        """Nothing was left."""

    async def lag(self) -> Lag:
        async with self._database.glance() as tx:
            return await outbox.lag(tx)


class OwnLine:
    """Rows are deleted a little later, many at a time: each write waits for the disk, and for every other."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._after = 0  # the last that was taken; SQLite's one writer commits in the order of the numbers
        self._litter = 0
        self._since = 0.0

    @property
    def littered(self) -> bool:
        return self._litter > 0

    @asynccontextmanager
    async def take(self, limit: int) -> AsyncIterator[list[Waiting]]:
        async with self._database.glance() as tx:
            rows = await outbox.pending(tx, limit, self._after)
        yield rows
        if not rows:
            return
        if not self.littered:
            self._since = time.monotonic()
        self._after = rows[-1].seq
        self._litter += len(rows)
        if self._litter >= LITTER or time.monotonic() - self._since >= LITTER_SECONDS:
            await self.clear()

    async def clear(self) -> None:
        if self.littered:
            async with self._database.strokes() as tx:
                await outbox.delete(tx, self._after)
            self._litter = 0

    async def lag(self) -> Lag:
        async with self._database.glance() as tx:
            return await outbox.lag(tx, self._after)
