"""Rates: how many jobs of a kind may start now, counted over all workers in the database.

A rate holds for every stretch of its length, wherever it begins: starts are remembered one by one. Workers whose
kinds have none pay nothing for it.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.jobs.kinds import Registry
from tidings.store import starts
from tidings.store.job_rows import StoredJob


class Pace:
    """The rates of a registry's kinds. ``wait`` is after how many seconds one that is used up frees a start."""

    def __init__(self, registry: Registry) -> None:
        self._rates = {kind.name: kind.rate for kind in registry if kind.rate is not None}
        self.wait: float | None = None

    @property
    def paced(self) -> bool:
        """Whether a kind has a rate, which takes more statements than the claim."""
        return bool(self._rates)

    async def room(self, tx: AsyncConnection, room: Mapping[str, int], now: datetime) -> dict[str, int]:
        """How many of each kind may be claimed, of as many as there is room for.

        To be asked before the transaction locks anything else: workers wait here for one another.
        """
        self.wait = None
        rates = {kind: rate for kind, rate in self._rates.items() if kind in room}
        if not rates:
            return dict(room)
        left = dict(room)
        for kind, counted in (await starts.count(tx, rates, now)).items():
            rate = rates[kind]
            left[kind] = min(room[kind], rate.starts - counted.starts)
            if left[kind] <= 0 and counted.since is not None:
                wait = (counted.since + timedelta(seconds=rate.seconds) - now).total_seconds()
                self.wait = wait if self.wait is None else min(self.wait, wait)
        return {kind: count for kind, count in left.items() if count > 0}

    async def note(self, tx: AsyncConnection, claimed: Iterable[StoredJob], now: datetime) -> None:
        """Count what was claimed. What goes on after a wait was counted when it began."""
        if self._rates:
            begun = (one for one in claimed if one.job.kind in self._rates and one.waiting_since is None)
            await starts.note(tx, begun, now)
