"""The artifacts of jobs: stored, listed in the job's row, told of, and deleted again.

The bytes come first, under a key that was never used before; then one transaction, fenced by the attempt, lists
the artifact and tells of it. So nothing is listed that is not there, nobody sees half a file, and an attempt
that has lost its job replaces nothing. Bytes that came to be listed nowhere are swept up later.
"""

import asyncio
import hashlib
import time
from collections.abc import Collection
from dataclasses import dataclass, replace

import structlog

from tidings.artifacts.base import Label, Source, Storage, StorageUnavailable
from tidings.delivery import progress
from tidings.delivery.relay import Relay
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import is_id, new_id
from tidings.domain.job import Artifact, Job, JobEventType, event_of
from tidings.jobs import queue
from tidings.jobs.context import JobFailed, JobStopped, Stop
from tidings.jobs.queue import Clock
from tidings.store import artifacts as rows
from tidings.store.database import Database
from tidings.store.lease import Lease

RETRY_SECONDS = 0.5
"""How long to wait after the database failed us."""
SWEEP_SECONDS = 6 * 3600.0
ORPHAN_SECONDS = 24 * 3600.0
"""How old bytes are, at least, that are taken for forgotten: no upload takes longer."""
_AT_ONCE = 500
_ID_CHARACTERS = 36

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


@dataclass(frozen=True, slots=True)
class ArtifactLimits:
    """``size`` is in bytes of one artifact, ``count`` of one job's."""

    size: int = 256 * 1024 * 1024
    count: int = 50


class Artifacts:
    """The artifacts of all jobs, whose bytes are in ``storage``."""

    def __init__(
        self,
        database: Database,
        relay: Relay,
        storage: Storage,
        limits: ArtifactLimits,
        *,
        clock: Clock = queue.utc_now,
    ) -> None:
        self._database = database
        self._relay = relay
        self._storage = storage
        self._limits = limits
        self._clock = clock

    async def attach(self, worker: str, job: Job, name: str, source: Source, media_type: str) -> None:
        """Store what a worker's attempt at a job has made. The same bytes again are told of once.

        Raises:
            JobFailed: it is too large, there are too many, or the storage does not take it.
            JobStopped: the job is no longer the worker's.
        """
        size, digest = await asyncio.to_thread(_measure, source)
        if size > self._limits.size:
            raise JobFailed("ARTIFACT_TOO_LARGE", f"{name} is over {self._limits.size} bytes", retry=False)
        artifact = Artifact(name, media_type, size, f"{job.id}/{new_id()}", digest)
        try:
            await self._storage.put(artifact.key, source, Label(name, media_type))
        except StorageUnavailable as fault:
            _log.warning("the storage of artifacts does not answer", jobId=job.id, reason=str(fault))
            raise JobFailed("STORAGE_UNAVAILABLE", f"{name} could not be stored") from fault
        try:
            replaced = await self._list(worker, job, artifact)
        except (JobFailed, JobStopped):
            await self.delete([artifact.key])
            raise
        self._relay.kick()
        if replaced is not None:
            await self.delete([replaced])

    async def delete(self, keys: Collection[str]) -> None:
        """Delete bytes that are listed no more. What cannot be deleted now is left to the sweep."""
        try:
            await self._storage.delete(keys)
        except StorageUnavailable as fault:
            _log.warning("artifacts not deleted", count=len(keys), reason=str(fault))

    async def forget(self, job_ids: Collection[str]) -> None:
        """Delete all that those jobs have made: they are deleted, and that is committed."""
        try:
            for job_id in job_ids:
                await self._storage.delete([key async for key in self._storage.list(job_id)])
        except StorageUnavailable as fault:
            _log.warning("artifacts not deleted", jobs=len(job_ids), reason=str(fault))

    async def run(self) -> None:
        """Sweep now and then, one process of all at a time, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            try:
                async with self._database.sole("artifacts") as sole:
                    swept = await self.sweep() if sole else 0
                if swept:
                    _log.info("artifacts swept", count=swept)
            except (StorageUnavailable, TidingsError) as fault:
                _log.warning("artifacts not swept", reason=str(fault))

    async def sweep(self) -> int:
        """Delete the bytes that no job lists, unless they are too young to tell; how many there were.

        Raises:
            StorageUnavailable: and some may have been deleted.
            TidingsError: UNAVAILABLE, likewise.
        """
        before = time.time() - ORPHAN_SECONDS
        swept = 0
        batch: list[str] = []
        async for key in self._storage.list():
            if _made_before(key, before):
                batch.append(key)
            if len(batch) == _AT_ONCE:
                swept += await self._sweep(batch)
                batch.clear()
        return swept + await self._sweep(batch)

    async def _sweep(self, keys: Collection[str]) -> int:
        async with self._database.read() as tx:
            listed = await rows.keys(tx, {key.partition("/")[0] for key in keys})
        orphans = [key for key in keys if key not in listed]
        await self._storage.delete(orphans)
        return len(orphans)

    async def _list(self, worker: str, job: Job, artifact: Artifact) -> str | None:
        """List and tell of it; the key of what it replaces. A database that is away is waited for."""
        while True:
            try:
                return await self._list_once(worker, job, artifact)
            except TidingsError as fault:
                if fault.code is not ErrorCode.UNAVAILABLE:
                    raise
                await asyncio.sleep(RETRY_SECONDS)

    async def _list_once(self, worker: str, job: Job, artifact: Artifact) -> str | None:
        lease = Lease(job.id, job.attempt)
        async with self._database.write() as tx:
            listed = await rows.held(tx, worker, lease)
            if listed is None:
                raise Stop.LOST.exception()
            others = [one for one in listed if one.name != artifact.name]
            if len(others) >= self._limits.count:
                raise JobFailed("TOO_MANY_ARTIFACTS", f"more than {self._limits.count}", retry=False)
            old = next((one for one in listed if one.name == artifact.name), None)
            if old == artifact:
                return None  # the commit that was not answered was one
            if old is not None and replace(old, key=artifact.key) == artifact:
                return artifact.key  # nothing new, and so the new bytes are the ones to go
            await rows.write(tx, lease, [*others, artifact])
            now = self._clock()
            event = replace(event_of(job, JobEventType.ARTIFACT, now, artifact.name), artifact=artifact)
            await progress.record(tx, job, event)
        return None if old is None else old.key


def _measure(source: Source) -> tuple[int, str]:
    """Size in bytes, and SHA-256 in hex."""
    if isinstance(source, bytes):
        return len(source), hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return file.tell(), digest


def _made_before(key: str, moment: float) -> bool:
    """Whether it is a key of ours from before that time (seconds since 1970), which stands in its id."""
    made = key.partition("/")[2][:_ID_CHARACTERS]
    # RFC 9562, section 5.7: the first 48 bits are milliseconds.
    return is_id(made) and int(made[:8] + made[9:13], 16) < moment * 1000
