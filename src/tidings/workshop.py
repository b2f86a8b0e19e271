"""The jobs of one process: what is asked of them, the reaper, and the worker that runs them, if one does here.

A page of the composition root: like ``app`` it may import everything, and only ``app`` imports it.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from tidings.artifacts.address import storage_at
from tidings.delivery.relay import Relay
from tidings.delivery.signals import Signals
from tidings.domain.ids import new_id
from tidings.jobs import demo
from tidings.jobs.artifacts import ArtifactLimits, Artifacts
from tidings.jobs.executor import Limits
from tidings.jobs.external import External
from tidings.jobs.family import Families
from tidings.jobs.kinds import REGISTRY
from tidings.jobs.reaper import Reaper
from tidings.jobs.requests import Jobs
from tidings.jobs.retention import Retention
from tidings.jobs.worker import Worker
from tidings.settings import Settings
from tidings.store.database import Database

DUE = "job due"
CANCELLED = "job cancelled"


class Workshop:
    """``jobs`` and ``external`` are what is asked, ``files`` what jobs have made; ``worker`` is None where jobs
    are left to other processes.
    """

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
        self.files = storage_at(settings.artifacts_url, settings.var / "artifacts")
        limits = ArtifactLimits(settings.artifact_max_bytes, settings.artifacts_per_job)
        self._artifacts = Artifacts(database, relay, self.files, limits)
        self.worker = self._worker() if settings.runs_jobs else None
        if self.worker is not None:
            signals.on(DUE, self._wake)
            signals.on(CANCELLED, self._cancel)
        self.jobs = Jobs(database, relay, REGISTRY, self._due, self._cancelled)
        self.external = External(database, relay)

    async def start(self) -> None:
        """Make this process's kinds known.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        await self.jobs.start()
        await self.external.start()

    def loops(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for as long as the process does.

        Each has a reaper, with or without a worker: where all jobs are external there may be no worker at all.
        """
        yield Reaper(self._database, self._relay, self._due).run
        yield Families(self._database, self._relay, self._due, self._cancelled).run
        yield self._artifacts.run
        yield Retention(self._database, self._settings.job_days, [self._artifacts.forget]).run
        if self.worker is not None:
            yield self._work

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

    async def _work(self) -> None:
        """Run the worker. After a fault the next one is another: its processes and leases have ended with it."""
        assert self.worker is not None
        try:
            await self.worker.run()
        except Exception:
            self.worker = self._worker()
            raise

    def _due(self, job_id: str | None = None) -> None:
        """A job may be run, that one or whichever, by any worker that is free."""
        self._signals.send(DUE, (job_id or "").encode())

    def _cancelled(self, job_id: str) -> None:
        """Whoever runs the job should end it."""
        self._signals.send(CANCELLED, job_id.encode())

    def _wake(self, job_id: bytes) -> None:
        if self.worker is not None:
            self.worker.wake(job_id.decode() or None)

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
        worker_id = f"{self._node_id}-{new_id()}"
        return Worker(
            self._database, self._relay, REGISTRY, self._artifacts, worker_id, limits, due=self._due
        )
