"""Joining what is live: first how things stand, then each event, none missed and none twice across the join.

A session is held while it joins. The seam is where it joined: what came before is told from the broker's
histories, what comes behind was kept in its outbox meanwhile. No position that a session is given runs ahead
of what it has been sent, and none goes back. Who may come back to what is ``recovery``'s.
"""

import sys
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import orjson

from tidings.broker.base import Broker, BrokerUnavailable
from tidings.delivery.relay import Relay
from tidings.delivery.resume import Missed, Outcome, count, latest, read_cursor, replay
from tidings.domain.channel import Channel
from tidings.domain.errors import CloseReason, ErrorCode, TidingsError
from tidings.domain.event import EventClass, Published
from tidings.domain.job import TERMINAL_TYPE, Job, JobEventType, event_of
from tidings.domain.people import Principal
from tidings.domain.position import Cursor, Position
from tidings.hub.hub import Hub
from tidings.hub.session import Session
from tidings.identity.policy import channels as channels_of

FindJob = Callable[[Principal, str], Awaitable[Job]]
T = TypeVar("T")

_RETRY_SECONDS = 5
_LONG = 64
"""Missed events, from which on they are worth being shared."""
_END = Cursor(Position("", sys.maxsize), Position("", sys.maxsize))
"""Behind everything."""


@dataclass(frozen=True, slots=True)
class Start:
    """What a session has to be told before ``release``.

    ``first`` is its first event (a job's snapshot), None when it resumed; ``missed`` what it was not there
    for. ``cursor`` is where it stands behind both. ``over``: nothing more will come. ``silent``: and there is
    nothing to tell either.
    """

    channels: tuple[Channel, ...]
    first: dict[str, Any] | None
    missed: Missed
    cursor: Cursor
    resumed: bool
    over: bool = False

    @property
    def silent(self) -> bool:
        return self.over and self.first is None and not self.missed


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands. ``first`` is its snapshot, None for a job whose events were asked for instead."""

    first: dict[str, Any] | None
    over: bool


class Subscriptions:
    """``find_job`` answers with the asker's own job, or raises NOT_FOUND."""

    def __init__(self, hub: Hub, broker: Broker, relay: Relay, find_job: FindJob) -> None:
        self._hub = hub
        self._broker = broker
        self._relay = relay
        self._find_job = find_job
        self._told = WeakValueDictionary[tuple[Channel, Position], Published]()

    async def inbox(self, session: Session, last_event_id: str | None) -> Start:
        """Join everything that is addressed to the session's user.

        Raises:
            TidingsError: UNAVAILABLE while the broker is away; the session has then joined nothing.
        """
        channels = channels_of(session.principal)
        return await self._held(session, channels, self._inbox(session, channels, last_event_id))

    async def job(self, session: Session, job_id: str, last_event_id: str | None) -> Start:
        """Join one job of the session's own user.

        Raises:
            TidingsError: NOT_FOUND for a job that is missing, malformed or someone else's; UNAVAILABLE.
        """
        job = await self._find_job(session.principal, job_id)
        # What this process has stored of it is published first, so that the snapshot is no older than that.
        await self._relay.flushed()
        return await self._held(session, (job.channel,), self._job(session, job, last_event_id))

    async def resume(
        self, session: Session, after: Cursor, jobs: Mapping[str, bool]
    ) -> tuple[Start, dict[str, Standing]] | None:
        """Join the inbox and jobs again; None if not all that was missed is still known.

        ``jobs`` are ids, each with whether its events belong to what was missed; of the others a snapshot is
        taken. Those that are no longer the user's are left out, and those that are over are not joined.

        Raises:
            TidingsError: UNAVAILABLE; the session has then joined nothing.
        """
        own = await self._own(session.principal, jobs)
        channels = (*channels_of(session.principal), *(job.channel for job in own))
        snapshots = {job.id for job in own if not jobs[job.id]}
        return await self._held(session, channels, self._resume(session, after, own, snapshots))

    def release(self, session: Session, start: Start) -> bool:
        """Let the live events through. False: they do not fit the outbox; close the session."""
        self._hub.flush()
        return session.outbox.release(start.cursor, start.channels)

    def withdraw(self, session: Session, channels: Collection[Channel]) -> None:
        """Undo a start that cannot be told: leave the channels, and let the others through again."""
        self._hub.leave(session, channels)
        self._hub.flush()
        if not session.outbox.release(_END, channels):
            session.wire.close(CloseReason.SLOW_CONSUMER)

    def leave(self, session: Session, channel: Channel | None = None) -> None:
        """Stop hearing a channel, or everything."""
        self._hub.leave(session, None if channel is None else [channel])

    async def _held(self, session: Session, channels: Collection[Channel], joining: Awaitable[T]) -> T:
        """Await what joins ``channels`` while the session is held. If it fails, they are left again."""
        new = [channel for channel in channels if channel not in session.channels]
        self._hub.flush()
        session.outbox.hold()
        try:
            return await joining
        except BaseException as fault:
            self.withdraw(session, new)
            if isinstance(fault, BrokerUnavailable | ConnectionError):
                raise TidingsError(
                    ErrorCode.UNAVAILABLE, retry_after=_RETRY_SECONDS, detail=repr(fault)
                ) from fault
            raise

    async def _inbox(
        self, session: Session, channels: tuple[Channel, ...], last_event_id: str | None
    ) -> Start:
        joined = await self._hub.join(session, channels)
        missed = await self._missed(channels, last_event_id, joined)
        self._pass_on(session, channels, joined)
        if missed is None:
            return Start(channels, None, (), joined, resumed=False)
        return Start(channels, None, missed, joined, resumed=True)

    async def _job(self, session: Session, job: Job, last_event_id: str | None) -> Start:
        channels = (job.channel,)
        joined = await self._hub.join(session, channels)
        missed = await self._missed(channels, last_event_id, joined)
        told = await latest(self._broker, job.channel, joined.tenant)
        self._pass_on(session, channels, joined)
        over = _over(job, told)
        if missed is not None:
            return Start(channels, None, missed, joined, resumed=True, over=over)
        first = _snapshot(job, told)
        if last_event_id is not None:
            first["resumed"] = False
        return Start(channels, first, (), joined, resumed=False, over=over)

    async def _resume(
        self, session: Session, after: Cursor, own: Collection[Job], snapshots: Collection[str]
    ) -> tuple[Start, dict[str, Standing]] | None:
        inbox = channels_of(session.principal)
        channels = (*inbox, *(job.channel for job in own))
        joined = await self._hub.join(session, channels)
        followed = [job.channel for job in own if job.id not in snapshots]
        missed = await self._replay([*inbox, *followed], after, joined)
        if missed is None:
            self.withdraw(session, channels)
            return None
        standings = {}
        for job in own:
            told = await latest(self._broker, job.channel, joined.tenant)
            over = _over(job, told)
            standings[job.id] = Standing(_snapshot(job, told) if job.id in snapshots else None, over)
            if over:
                self._hub.leave(session, [job.channel])
        self._pass_on(session, channels, joined)
        return Start(channels, None, missed, joined, resumed=True), standings

    async def _missed(
        self, channels: tuple[Channel, ...], last_event_id: str | None, joined: Cursor
    ) -> Missed | None:
        """What followed ``last_event_id``; None if that was not asked for, or cannot be said."""
        if last_event_id is None:
            return None
        after = read_cursor(last_event_id)
        if after is None:
            count(Outcome.POSITION)
            return None
        missed = await self._replay(channels, after, joined)
        count(Outcome.HISTORY if missed is None else Outcome.COMPLETE)
        return missed

    async def _replay(self, channels: Collection[Channel], after: Cursor, joined: Cursor) -> Missed | None:
        """What was missed. Of a long one, what others are being told as well is there once.

        It stays as long as its slowest reader takes, and some brokers make new objects for each who asks.
        """
        missed = await replay(self._broker, channels, after, joined)
        if missed is None or len(missed) < _LONG:
            return missed
        told = self._told
        return tuple((told.setdefault((one.channel, one.position), one), cursor) for one, cursor in missed)

    def _pass_on(self, session: Session, channels: tuple[Channel, ...], joined: Cursor) -> None:
        self._hub.flush()
        if not session.outbox.pass_on(joined, channels):
            session.wire.close(CloseReason.SLOW_CONSUMER)

    async def _own(self, principal: Principal, job_ids: Collection[str]) -> list[Job]:
        """Those of these jobs that are the user's; what this process has stored of them is published."""
        own = []
        for job_id in job_ids:
            try:
                own.append(await self._find_job(principal, job_id))
            except TidingsError as fault:
                if fault.code is not ErrorCode.NOT_FOUND:
                    raise
        if own:
            await self._relay.flushed()
        return own


def _over(job: Job, told: Published | None) -> bool:
    """Whether a job is over: as its stream last told, or as it is stored when that has aged away."""
    return job.status.finished if told is None else told.event.klass is EventClass.FINAL


def _snapshot(job: Job, told: Published | None) -> dict[str, Any]:
    """How a job stands, from the same source."""
    if told is not None:
        body: dict[str, Any] = orjson.loads(told.event.data)
        if body.pop("artifact", None) is not None:
            body["message"] = None  # it was about the file, which is not news any more
        if told.event.klass is not EventClass.FINAL:
            body["type"] = JobEventType.SNAPSHOT.value
        return body
    kind = TERMINAL_TYPE.get(job.status, JobEventType.SNAPSHOT)
    at = job.finished_at or job.started_at or job.created_at or datetime.now(UTC)
    return event_of(job, kind, at).to_json()
