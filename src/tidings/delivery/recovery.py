"""Connection state recovery: a client that comes back as who it was goes on where it was (contract, section 4).

A session has a ``pid``, a secret that outlives its connections, and a record under it. Coming back with both a
``pid`` and the last position that was received, it is told exactly what it missed, or that it cannot be. The
order in which things are sent is the caller's; ``Arrival`` says which it is.
"""

from dataclasses import dataclass, replace

import structlog

from tidings.delivery.records import Record, Records
from tidings.delivery.resume import Outcome, Place, count
from tidings.delivery.subscribe import Standing, Start, Subscriptions
from tidings.domain import strictjson
from tidings.domain.channel import ChannelKind, job_channel
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import new_secret
from tidings.domain.people import Principal
from tidings.hub.session import Session

_RETRY_SECONDS = 10

_log = structlog.stdlib.get_logger("tidings.recovery")


@dataclass(frozen=True, slots=True)
class Arrival:
    """What a client has to be told when it has connected, in this order.

    That it is ready, at the place ``begins``, behind which everything is still to come; the events of
    ``start.missed``, each with its cursor; the ``snapshots``, each as JSON with its place; and then, by
    ``release``, what is live.
    """

    start: Start
    begins: str
    snapshots: tuple[tuple[bytes, str], ...] = ()

    @property
    def recovered(self) -> bool:
        return self.start.resumed


class _NotRecovered(Exception):
    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Recovery:
    """Sessions that can be come back to. ``jobs`` is how many unfinished ones a session may be subscribed to."""

    def __init__(self, subscriptions: Subscriptions, records: Records, *, jobs: int) -> None:
        self._subscriptions = subscriptions
        self._records = records
        self._jobs = jobs

    async def connect(self, session: Session, pid: object, offset: object) -> Arrival:
        """Join the inbox, and recover if a client gave a ``pid`` that allows it. The session's ``id`` is its pid.

        ``pid`` and ``offset`` are whatever a client sent, None for nothing. Without an offset, a session is
        recovered from where its latest connection began.

        Raises:
            TidingsError: UNAVAILABLE.
        """
        if pid is not None:
            try:
                arrival = await self._recover(session, pid, offset)
            except _NotRecovered as refusal:
                count(refusal.outcome)
                _log.info("not recovered", userId=session.principal.user_id, reason=refusal.outcome.value)
            else:
                count(Outcome.COMPLETE)
                return arrival
        return await self._begin(session)

    async def subscribe(self, session: Session, job_id: str, last_event_id: str | None) -> tuple[Start, str]:
        """Join a job and remember it. Also returns the place behind what is to be told, which the last of it carries.

        Raises:
            TidingsError: as ``Subscriptions.job`` does; TOO_MANY_CONNECTIONS.
        """
        start = await self._subscriptions.job(session, job_id, last_event_id)
        try:
            self._check_room(session, start)
            place = await self._remember(session, job_id, start)
        except BaseException:
            self._subscriptions.withdraw(session, start.channels)
            raise
        if start.over:
            self._subscriptions.leave(session, start.channels[0])
        if start.missed:
            behind = (start.missed[-1][0], start.cursor)
            start = replace(start, missed=(*start.missed[:-1], behind))
        return start, str(place)

    async def unsubscribe(self, session: Session, job_id: str) -> None:
        """Leave a job and forget it; harmless when it was not joined. Raises UNAVAILABLE."""
        self._subscriptions.leave(session, job_channel(session.principal.tenant_id, job_id))
        record = await self._records.find(session.id)
        if record is not None and job_id in record.jobs:
            jobs = {other: place for other, place in record.jobs.items() if other != job_id}
            await self._records.keep(session.id, replace(record, jobs=jobs))

    def release(self, session: Session, start: Start) -> bool:
        """Let the live events through. False: they do not fit the outbox; close the session."""
        return self._subscriptions.release(session, start)

    def leave(self, session: Session) -> None:
        """The session's connection has ended."""
        self._subscriptions.leave(session)
        self._records.leave(session.id)

    async def _begin(self, session: Session) -> Arrival:
        start = await self._subscriptions.inbox(session, None)
        session.id = new_secret()
        place = Place(start.cursor)
        principal = session.principal
        record = Record(principal.user_id, principal.tenant_id, principal.role, place, place)
        await self._records.keep(session.id, record)
        return Arrival(start, str(place))

    async def _recover(self, session: Session, pid: object, offset: object) -> Arrival:
        """Go on as the session of that pid. Raises ``_NotRecovered``; the session has then joined nothing."""
        known, record = await self._recognise(session.principal, pid)
        after = _read(offset, record)
        received = {job_id: after.covers(place) for job_id, place in record.jobs.items()}
        resumed = await self._subscriptions.resume(session, after.cursor, received)
        if resumed is None:
            raise _NotRecovered(Outcome.HISTORY)
        start, standings = resumed
        session.id = known
        record, snapshots = _go_on(record, after, start, standings)
        await self._records.keep(known, record)
        return Arrival(start, str(after), snapshots)

    async def _recognise(self, principal: Principal, pid: object) -> tuple[str, Record]:
        record = await self._records.find(pid) if isinstance(pid, str) else None
        if record is None:
            raise _NotRecovered(Outcome.UNKNOWN)
        if not record.is_of(principal):
            raise _NotRecovered(Outcome.FOREIGN)
        return str(pid), record

    def _check_room(self, session: Session, start: Start) -> None:
        if not start.over and len(_unfinished(session)) > self._jobs:
            raise TidingsError(ErrorCode.TOO_MANY_CONNECTIONS, retry_after=_RETRY_SECONDS)

    async def _remember(self, session: Session, job_id: str, start: Start) -> Place:
        """Write a subscription down before anything of it is sent; returns the place behind what is to be sent."""
        record = await self._records.find(session.id)
        if record is None:
            return Place(start.cursor)
        snapshots = record.snapshots + (start.first is not None)
        place = Place(start.cursor, snapshots if start.first is not None else 0)
        jobs = {other: where for other, where in record.jobs.items() if other != job_id}
        jobs[job_id] = place
        # Events that were asked for again carry their own positions, before those of others received since.
        floor = place if len(start.missed) > 1 else record.floor
        # Jobs that are over are remembered, in case their end was not received, but not for ever.
        heard = {job_id, *_unfinished(session)}
        finished = [other for other in jobs if other not in heard]
        for other in finished[: max(0, len(jobs) - self._jobs)]:
            del jobs[other]
            floor = place
        await self._records.keep(session.id, replace(record, floor=floor, snapshots=snapshots, jobs=jobs))
        return place


def _read(offset: object, record: Record) -> Place:
    """From where to go on. Raises ``_NotRecovered`` for what is no position, or none to be trusted."""
    try:
        after = record.start if offset is None else Place.parse(str(offset))
    except ValueError:
        raise _NotRecovered(Outcome.POSITION) from None
    if after.precedes(record.began):
        # The stock client goes on giving its former session's offset until it has received something of this one.
        after = record.start
    if record.floor is not None and after.precedes(record.floor):
        raise _NotRecovered(Outcome.POSITION)
    return after


def _go_on(
    record: Record, after: Place, start: Start, standings: dict[str, Standing]
) -> tuple[Record, tuple[tuple[bytes, str], ...]]:
    """The record of a session that goes on after ``after``, and the snapshots that are to be sent.

    A job is forgotten when it is no longer the user's, and when its end has been received.
    """
    brought = {published.channel.name for published, _ in start.missed}
    count_sent = record.snapshots
    jobs: dict[str, Place] = {}
    snapshots = []
    for job_id, standing in standings.items():
        if standing.first is not None:
            count_sent += 1
            jobs[job_id] = Place(start.cursor, count_sent)
            snapshots.append((strictjson.dumps(standing.first), str(jobs[job_id])))
        elif not standing.over or job_id in brought:
            jobs[job_id] = record.jobs[job_id]
    return replace(record, start=after, snapshots=count_sent, jobs=jobs), tuple(snapshots)


def _unfinished(session: Session) -> list[str]:
    """The jobs that a session hears. The hub lets go of those that are over."""
    return [channel.name for channel in session.channels if channel.kind is ChannelKind.JOB]
