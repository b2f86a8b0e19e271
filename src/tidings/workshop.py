"""The jobs of one process: what users ask of them, and the worker and reaper that run them, if any do here.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from tidings.delivery.relay import Relay
from tidings.domain.ids import new_id
from tidings.jobs import demo
from tidings.jobs.kinds import REGISTRY
from tidings.jobs.reaper import Reaper
from tidings.jobs.requests import Jobs
from tidings.jobs.worker import Limits, Worker
from tidings.settings import Settings
from tidings.store.database import Database


class Workshop:
    """``jobs`` is what users ask; ``worker`` is None where jobs are left to other processes."""

    def __init__(self, settings: Settings, database: Database, relay: Relay, node_id: str) -> None:
        if not settings.production:
            demo.register(REGISTRY)
        self._settings = settings
        self._node_id = node_id
        self._database = database
        self._relay = relay
        self.worker = self._worker() if settings.runs_jobs else None
        self.jobs = Jobs(database, relay, REGISTRY, self._wake, self._cancel_hint)

    async def start(self) -> None:
        """Make this process's kinds known.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        await self.jobs.start()

    def loops(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for as long as the process serves."""
        if self.worker is not None:
            yield Reaper(self._database, self._relay, self._wake).run
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

    def _wake(self) -> None:
        if self.worker is not None:
            self.worker.wake()

    def _cancel_hint(self, job_id: str) -> None:
        if self.worker is not None:
            self.worker.cancel_hint(job_id)

    def _worker(self) -> Worker:
        settings = self._settings
        limits = Limits(
            concurrency=settings.job_concurrency,
            lease=settings.job_lease_seconds,
            timeout=settings.job_timeout,
            grace=settings.job_cancel_grace,
        )
        return Worker(self._database, self._relay, REGISTRY, f"{self._node_id}-{new_id()}", limits)
