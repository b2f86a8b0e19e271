"""How a job tells of itself: its states through the outbox, its progress straight to the broker."""

from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.delivery.relay import Relay
from tidings.domain import strictjson
from tidings.domain.event import Event
from tidings.domain.job import Job, JobEvent
from tidings.store import outbox

EVENT_NAME = "job:event"


async def record(tx: AsyncConnection, job: Job, event: JobEvent) -> None:
    """Store a change of state beside the change itself. After the commit: ``relay.kick()``."""
    await outbox.append(tx, [(job.channel, as_event(event))], event.timestamp)


def report(relay: Relay, job: Job, event: JobEvent) -> None:
    """Tell of progress, which is not stored."""
    relay.progress(job.channel, as_event(event))


def as_event(event: JobEvent) -> Event:
    return Event(EVENT_NAME, strictjson.dumps(event.to_json()), event.type.klass)
