"""Orders to all nodes: given in the transaction that makes them due, carried out by every process within 1 s.

The rows are the truth: each process looks for new ones four times a second, whatever becomes of the broker, and a
signal makes it look at once. What an order does at this node is ``enforcement``'s.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.delivery.signals import Signals
from tidings.domain.errors import TidingsError
from tidings.domain.order import Order
from tidings.store import orders
from tidings.store.database import Database

POLL_SECONDS = 0.25
KEEP = timedelta(minutes=10)
"""How long an order is kept: by far longer than a process takes to see it."""
TRUSTED_SECONDS = KEEP.total_seconds() / 2
"""A process that could not look for so long may have missed orders that are deleted by now."""

_AT_ONCE = 500
_SIGNAL = "orders"

_log = structlog.stdlib.get_logger("tidings.orders")


class Enforce(Protocol):
    """What carries orders out at this node. Doing it twice does no harm. Both may raise UNAVAILABLE."""

    def carry_out(self, given: Sequence[Order]) -> Awaitable[None]:
        """Carry out these."""

    def review(self) -> Awaitable[None]:
        """Do what any order could have said."""


class Orders:
    """One a process. ``start`` before ``run``."""

    def __init__(
        self, database: Database, signals: Signals, enforce: Enforce, *, poll_seconds: float = POLL_SECONDS
    ) -> None:
        self._database = database
        self._signals = signals
        self._enforce = enforce
        self._poll_seconds = poll_seconds
        self._wanted = asyncio.Event()
        self._seen = 0
        self._looked_at = 0.0
        signals.on(_SIGNAL, lambda _: self._wanted.set())

    async def give(self, tx: AsyncConnection, *given: Order) -> None:
        """Order this with the transaction ``tx``, as the last that is done in it; then call ``committed``."""
        await orders.append(tx, given, datetime.now(UTC))

    def committed(self) -> None:
        """Orders were committed: every process had better look now."""
        self._signals.send(_SIGNAL)

    async def start(self) -> None:
        """Begin behind what was ordered before: who comes now finds it done.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        async with self._database.read() as tx:
            self._seen = await orders.latest(tx)
        self._looked_at = time.monotonic()

    async def run(self) -> None:
        """Carry orders out until cancelled. What fails because the database is away is done when it is back."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll_seconds):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._look()
            except TidingsError as fault:
                _log.warning("orders wait for the database", reason=str(fault))

    async def _look(self) -> None:
        if time.monotonic() - self._looked_at > TRUSTED_SECONDS:
            await self._enforce.review()
        more = True
        while more:
            async with self._database.read() as tx:
                found = await orders.after(tx, self._seen, _AT_ONCE)
            if found:
                await self._enforce.carry_out([given.order for given in found])
                self._seen = found[-1].seq
            more = len(found) == _AT_ONCE
        self._looked_at = time.monotonic()
