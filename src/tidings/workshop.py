"""The jobs of one process: what users ask of them, and the worker and reaper that run them, if any do here.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from tidings.delivery.relay import Relay
from tidings.delivery.signals import Signals
from tidings.domain.ids import new_id
from tidings.jobs import demo
from tidings.jobs.kinds import REGISTRY
from tidings.jobs.reaper import Reaper
from tidings.jobs.requests import Jobs
from tidings.jobs.worker import Limits, Worker
from tidings.settings import Settings
from tidings.store.database import Database

_DUE = "job due"
_CANCELLED = "job cancelled"


class Workshop:
    """``jobs`` is what users ask; ``worker`` is None where jobs are left to other processes."""

    def __init__(
        self, settings: Settings, database: Database, relay: Relay, signals: Signals, node_id: str
    ) -> None:
        if not settings.production:
            demo.register(REGISTRY)
        self._settings = settings
        self._node_id = node_id
        self._database = database
        self._relay = relay
        self._signals = signals
        self.worker = self._worker() if settings.runs_jobs else None
        if self.worker is not None:
            signals.on(_DUE, self._wake)
            signals.on(_CANCELLED, self._cancel)
        self.jobs = Jobs(database, relay, REGISTRY, self._due, self._cancelled)

    async def start(self) -> None:
        """Make this process's kinds known.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        await self.jobs.start()

    def loops(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for as long as the process serves."""
        if self.worker is not None:
            yield Reaper(self._database, self._relay, self._due).run
            yield self.worker.run

    async def drain(self, seconds: float, hurry: asyncio.Event) -> None:
        """Begin nothing more, give what runs so long to end, and hand back the rest; at once when hurried."""
        if self.worker is None:
            return
        drained = asyncio.create_task(self.worker.drain(seconds))
        hurried = asyncio.create_task(hurry.wait())
        await asyncio.wait([drained, hurried], return_when=asyncio.FIRST_COMPLETED)
        if not drained.done():
            await self.worker.drain(0.0)
        hurried.cancel()
        await drained

    def _due(self) -> None:
        """A job may be run, by whichever worker is free."""
        self._signals.send(_DUE)

    def _cancelled(self, job_id: str) -> None:
        """Whoever runs the job should end it."""
        self._signals.send(_CANCELLED, job_id.encode())

    def _wake(self, _: bytes) -> None:
        if self.worker is not None:
            self.worker.wake()

    def _cancel(self, job_id: bytes) -> None:
        if self.worker is not None:
            self.worker.cancel_hint(job_id.decode())

    def _worker(self) -> Worker:
        settings = self._settings
        limits = Limits(
            concurrency=settings.job_concurrency,
            lease=settings.job_lease_seconds,
            timeout=settings.job_timeout,
            grace=settings.job_cancel_grace,
        )
        return Worker(self._database, self._relay, REGISTRY, f"{self._node_id}-{new_id()}", limits)
