"""A process that runs the tests' kinds and tells nobody: ``python -m tests.support.family_worker URL FOLDER``.

It is there to be killed. What it has to tell waits in the outbox.
"""

import asyncio
import sys
from pathlib import Path

from tests.support import family_kinds
from tests.support.job_kinds import KINDS
from tests.support.job_rig import SMALL
from tidings.artifacts.local import LocalStorage
from tidings.broker.base import Limits as BrokerLimits
from tidings.broker.memory import MemoryBroker
from tidings.delivery.relay import Relay
from tidings.domain.ids import new_id
from tidings.jobs.artifacts import Artifacts
from tidings.jobs.executor import Limits
from tidings.jobs.family import Families
from tidings.jobs.reaper import Reaper
from tidings.jobs.worker import Worker
from tidings.store.database import Database

assert family_kinds.NOTES


async def main(url: str, folder: Path) -> None:
    async with Database(url) as database:
        relay = Relay(database, MemoryBroker(BrokerLimits()))
        artifacts = Artifacts(database, relay, LocalStorage(folder), SMALL)
        limits = Limits(concurrency=2, lease=1.0)
        worker = Worker(database, relay, KINDS, artifacts, new_id(), limits, due=lambda: None)
        families = Families(database, relay, worker.wake, worker.cancel_hint)
        reaper = Reaper(database, relay, worker.wake)
        print("working", flush=True)  # noqa: T201 - the test waits for it
        await asyncio.gather(worker.run(), families.run(), reaper.run())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
