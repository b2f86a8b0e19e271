"""Joining what is live: first how things stand, then each event, none missed and none twice across the join.

A session is held while it joins: what happens meanwhile is kept in its outbox and released behind the point
up to which the caller has told it everything.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from tidings.broker.base import Broker, BrokerUnavailable
from tidings.delivery.relay import Relay
from tidings.delivery.resume import Replay, count, read_cursor, replay
from tidings.domain.channel import Channel
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.event import EventClass, Published
from tidings.domain.job import TERMINAL_TYPE, Job, JobEventType, event_of
from tidings.domain.people import Principal
from tidings.domain.position import Cursor
from tidings.hub.hub import Hub
from tidings.hub.session import Session
from tidings.identity.policy import channels as channels_of

FindJob = Callable[[Principal, str], Awaitable[Job]]
_RETRY_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Start:
    """What a session has to be told before ``release``.

    ``first`` is its first event (a job's snapshot), None when it resumed; ``missed`` what it was not there
    for. ``cursor`` is where it stands behind both. ``over``: nothing more will come. ``silent``: and there is
    nothing to tell either.
    """

    channels: tuple[Channel, ...]
    first: dict[str, Any] | None
    missed: tuple[tuple[Published, Cursor], ...]
    cursor: Cursor
    resumed: bool
    over: bool = False

    @property
    def silent(self) -> bool:
        return self.over and self.first is None and not self.missed


class Subscriptions:
    """``find_job`` answers with the asker's own job, or raises NOT_FOUND."""

    def __init__(self, hub: Hub, broker: Broker, relay: Relay, find_job: FindJob) -> None:
        self._hub = hub
        self._broker = broker
        self._relay = relay
        self._find_job = find_job

    async def inbox(self, session: Session, last_event_id: str | None) -> Start:
        """Join everything that is addressed to the session's user.

        Raises:
            TidingsError: UNAVAILABLE while the broker is away; the session has then joined nothing.
        """
        channels = channels_of(session.principal)
        joined, missed = await self._join(session, channels, last_event_id)
        if missed is None or not missed.complete:
            return Start(channels, None, (), joined, resumed=False)
        return Start(channels, None, missed.events, missed.upto, resumed=True)

    async def job(self, session: Session, job_id: str, last_event_id: str | None) -> Start:
        """Join one job of the session's own user.

        Raises:
            TidingsError: NOT_FOUND for a job that is missing, malformed or someone else's; UNAVAILABLE.
        """
        job = await self._find_job(session.principal, job_id)
        # What this process has stored of it is published first, so that the snapshot is no older than that.
        await self._relay.flushed()
        channels = (job.channel,)
        joined, missed = await self._join(session, channels, last_event_id)
        if missed is not None and missed.complete:
            over = job.status.finished if missed.latest is None else _final(missed.latest)
            return Start(channels, None, missed.events, missed.upto, resumed=True, over=over)
        standing = missed or await self._replay(session, channels, joined, joined)
        first, over = _snapshot(job, standing.latest)
        if last_event_id is not None:
            first["resumed"] = False
        return Start(channels, first, (), standing.upto, resumed=False, over=over)

    def release(self, session: Session, start: Start) -> bool:
        """Let the live events through. False: they do not fit the outbox; close the session."""
        self._hub.flush()
        return session.outbox.release(start.cursor, start.channels)

    def leave(self, session: Session, channel: Channel | None = None) -> None:
        """Stop hearing a channel, or everything."""
        self._hub.leave(session, None if channel is None else [channel])

    async def _join(
        self, session: Session, channels: tuple[Channel, ...], last_event_id: str | None
    ) -> tuple[Cursor, Replay | None]:
        self._hub.flush()
        session.outbox.hold()
        try:
            joined = await self._hub.join(session, channels)
            after = None if last_event_id is None else read_cursor(last_event_id)
            missed = None if after is None else await self._replay(session, channels, after, joined)
        except (BrokerUnavailable, ConnectionError) as fault:
            self._hub.leave(session, channels)
            raise TidingsError(
                ErrorCode.UNAVAILABLE, retry_after=_RETRY_SECONDS, detail=repr(fault)
            ) from fault
        if last_event_id is not None:
            count(resumed=missed is not None and missed.complete)
        return joined, missed

    async def _replay(
        self, session: Session, channels: tuple[Channel, ...], after: Cursor, now: Cursor
    ) -> Replay:
        return await replay(self._broker, channels, after, now)


def _final(published: Published) -> bool:
    return published.event.klass is EventClass.FINAL


def _snapshot(job: Job, latest: Published | None) -> tuple[dict[str, Any], bool]:
    """How a job stands: as its stream last said, or as it is stored when that has aged away."""
    if latest is not None:
        body: dict[str, Any] = orjson.loads(latest.event.data)
        if not _final(latest):
            body["type"] = JobEventType.SNAPSHOT.value
        return body, _final(latest)
    kind = TERMINAL_TYPE.get(job.status, JobEventType.SNAPSHOT)
    at = job.finished_at or job.started_at or job.created_at or datetime.now(UTC)
    return event_of(job, kind, at).to_json(), job.status.finished
