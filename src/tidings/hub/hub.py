"""Channel to sessions: who on this node hears what, and the fan-out.

Events that arrive within one turn of the event loop are collected; consecutive ones of a channel are encoded
once per wire format and tenant, joined, and written to every session in the order of publication. The hub
knows no broker: subscribing, unsubscribing and positions are functions that it is given.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from itertools import groupby
from math import ceil

from tidings import metrics
from tidings.domain.channel import GLOBAL_TENANT, LIMBO, Channel
from tidings.domain.errors import CloseReason
from tidings.domain.event import EventClass, Published
from tidings.domain.people import TenantId, UserId
from tidings.domain.position import Cursor, Position
from tidings.hub.outbox import Frame, write_all
from tidings.hub.session import Format, Session

Subscribe = Callable[[Collection[Channel]], Awaitable[None]]
Locate = Callable[[TenantId], Awaitable[Position]]
Group = tuple[Format, TenantId]

SPREAD_SECONDS = 5.0
"""How long it may take until all are sent away who have missed something, so that not all come back at once."""
_TURN_SECONDS = 0.05
_LEAST_A_TURN = 20


class _Audience:
    """The sessions of one channel, grouped by what they are written to alike."""

    __slots__ = ("channel", "groups", "heard_at", "subscribed")

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.heard_at = 0.0
        self.groups: dict[Group, set[Session]] = {}
        self.subscribed: asyncio.Future[None] | None = None


class Hub:
    """``subscribe`` and ``unsubscribe`` are the broker's, counted; ``locate`` gives a tenant's position."""

    def __init__(self, subscribe: Subscribe, unsubscribe: Subscribe, locate: Locate) -> None:
        self._subscribe = subscribe
        self._unsubscribe = unsubscribe
        self._locate = locate
        self._audiences: dict[Channel, _Audience] = {}
        self._users: dict[UserId, set[Session]] = {}
        self._seen: dict[TenantId, Position] = {}
        self._present: dict[TenantId, int] = {}
        self._pending: list[Published] = []
        self._deserted: set[Channel] = set()
        self._doomed: deque[Session] = deque()
        self._doomed_a_turn = 0

    def __len__(self) -> int:
        return sum(map(len, self._users.values()))

    def sessions(self) -> list[Session]:
        """All sessions of this node, as they are now."""
        return [session for sessions in self._users.values() for session in sessions]

    def sessions_of(self, user: UserId) -> list[Session]:
        return list(self._users.get(user, ()))

    def heard(self, session: Session) -> float:
        """When its channels last brought an event, in monotonic seconds; 0 for never."""
        return max((self._audiences[channel].heard_at for channel in session.channels), default=0.0)

    async def join(self, session: Session, channels: Iterable[Channel]) -> Cursor:
        """Let a session hear channels; returns where it stands. Hold its outbox first and release it there.

        Raises:
            ConnectionError: it has missed something, and is about to be closed.
            Exception: what ``subscribe`` or ``locate`` raised; the session then hears nothing new.
        """
        if LIMBO in session.channels:
            raise ConnectionError("the session has missed something")
        wanted = [channel for channel in channels if channel not in session.channels]
        tenant = session.principal.tenant_id
        if tenant not in self._seen or GLOBAL_TENANT not in self._seen:
            await self._look(tenant)
        if not session.channels:
            self._enter(session)
        audiences = [self._admit(session, channel) for channel in wanted]
        try:
            await self._hear(audiences)
            await self._look(tenant)
            return Cursor(self._seen[tenant], self._seen[GLOBAL_TENANT])
        except BaseException:
            self.leave(session, wanted)
            raise

    def leave(self, session: Session, channels: Iterable[Channel] | None = None) -> None:
        """Stop hearing these channels, or all. Harmless when it heard none."""
        for channel in list(session.channels) if channels is None else channels:
            if channel not in session.channels:
                continue
            session.channels.remove(channel)
            audience = self._audiences[channel]
            group = audience.groups[session.group]
            group.discard(session)
            if not group:
                del audience.groups[session.group]
            if not audience.groups:
                self._deserted.add(channel)
            if not session.channels:
                self._exit(session)

    def reformat(self, session: Session, wire_format: Format) -> None:
        """Write to a session in another way from now on."""
        for channel in session.channels:
            groups = self._audiences[channel].groups
            group = groups[session.group]
            group.discard(session)
            if not group:
                del groups[session.group]
        session.format = wire_format
        session.group = (wire_format, session.principal.tenant_id)
        for channel in session.channels:
            self._audiences[channel].groups.setdefault(session.group, set()).add(session)

    def lost(self, channel: Channel) -> None:
        """Something of the channel is gone for good: whoever hears it has to come back and be told so.

        From now on it hears nothing more, which would move its position past what it has missed; it is closed
        at once or, when many are, within ``SPREAD_SECONDS``.
        """
        self.flush()
        audience = self._audiences.get(channel)
        if audience is None or not audience.groups:
            return
        begins = not self._doomed
        for session in [each for sessions in audience.groups.values() for each in sessions]:
            heard = tuple(session.channels)
            self._admit(session, LIMBO)
            self.leave(session, heard)
            self._doomed.append(session)
        turns = SPREAD_SECONDS / _TURN_SECONDS
        self._doomed_a_turn = max(_LEAST_A_TURN, ceil(len(self._doomed) / turns))
        if begins:
            self._close_doomed()

    async def tidy(self) -> None:
        """Unsubscribe from what nobody hears any more. Called now and then, so that reconnects cost nothing."""
        gone = []
        for channel in list(self._deserted):
            audience = self._audiences[channel]
            if audience.subscribed is not None and not audience.subscribed.done():
                continue
            self._deserted.discard(channel)
            if audience.groups:
                continue
            del self._audiences[channel]
            if audience.subscribed is not None:
                gone.append(channel)
        for tenant in self._seen.keys() - self._present.keys() - {GLOBAL_TENANT}:
            del self._seen[tenant]
        if gone:
            await self._unsubscribe(gone)

    def deliver(self, published: Published) -> None:
        """The broker's call-back: take one event, to be written at the end of this turn of the loop."""
        if not self._pending:
            asyncio.get_running_loop().call_soon(self.flush)
        self._pending.append(published)

    def flush(self) -> None:
        """Write what has been taken. Before a session joins and is released, so that nothing older comes later."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        for channel, run in groupby(pending, key=lambda published: published.channel):
            self._fan_out(channel, list(run))
        now = time.time()
        for published in pending:
            metrics.delivery_seconds.observe(max(0.0, now - published.published_at))

    def _enter(self, session: Session) -> None:
        self._users.setdefault(session.principal.user_id, set()).add(session)
        tenant = session.principal.tenant_id
        self._present[tenant] = self._present.get(tenant, 0) + 1

    def _exit(self, session: Session) -> None:
        user, tenant = session.principal.user_id, session.principal.tenant_id
        self._users[user].discard(session)
        if not self._users[user]:
            del self._users[user]
        self._present[tenant] -= 1
        if not self._present[tenant]:
            del self._present[tenant]

    async def _look(self, tenant: TenantId) -> None:
        """Learn where the counters stand: they went on while nobody here heard the channels that moved them.

        What is up to there has been delivered, and is written first, so that no cursor runs ahead of it.
        """
        # One after the other: two tasks are dearer than what a broker within this process takes to answer.
        await self._see(tenant)
        await self._see(GLOBAL_TENANT)

    async def _see(self, tenant: TenantId) -> None:
        position = await self._locate(tenant)
        if self._pending:
            self.flush()
        seen = self._seen.get(tenant)
        if seen is None or seen.epoch != position.epoch or seen.offset < position.offset:
            self._seen[tenant] = position

    def _close_doomed(self) -> None:
        for _ in range(min(self._doomed_a_turn, len(self._doomed))):
            session = self._doomed.popleft()
            if session.channels:
                session.wire.close(CloseReason.MISSED)
        if self._doomed:
            asyncio.get_running_loop().call_later(_TURN_SECONDS, self._close_doomed)

    def _admit(self, session: Session, channel: Channel) -> _Audience:
        """Put a session among those who hear a channel."""
        session.channels.append(channel)
        audience = self._audiences.get(channel)
        if audience is None:
            audience = self._audiences[channel] = _Audience(channel)
        audience.groups.setdefault(session.group, set()).add(session)
        return audience

    async def _hear(self, audiences: Collection[_Audience]) -> None:
        fresh = [audience for audience in audiences if audience.subscribed is None]
        if fresh:
            await self._begin(fresh)
        for audience in audiences:
            if audience.subscribed is not None and not audience.subscribed.done():
                await asyncio.shield(audience.subscribed)

    async def _begin(self, audiences: Collection[_Audience]) -> None:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for audience in audiences:
            audience.subscribed = begun
        try:
            await self._subscribe([audience.channel for audience in audiences])
        except BaseException as fault:
            for audience in audiences:
                audience.subscribed = None
            begun.set_exception(ConnectionError("subscribing failed"))
            begun.exception()
            raise fault from None
        begun.set_result(None)

    def _fan_out(self, channel: Channel, events: list[Published]) -> None:
        audience = self._audiences.get(channel)
        if audience is None or not audience.groups:
            return
        self._seen[channel.tenant] = events[-1].position
        audience.heard_at = time.monotonic()
        failed: list[Session] = []
        for (wire_format, tenant), sessions in audience.groups.items():
            frames = self._encode(events, wire_format, tenant)
            failed += write_all(sessions, frames)
            metrics.deliveries.inc(len(sessions) * len(events))
        for session in failed:
            reason = CloseReason.SLOW_CONSUMER if session.outbox.full else CloseReason.TRANSPORT_LOST
            session.wire.close(reason)
        if events[-1].event.klass is EventClass.FINAL:
            for session in [s for sessions in audience.groups.values() for s in sessions]:
                self.leave(session, [channel])
                session.wire.finished(channel)

    def _encode(self, events: list[Published], wire_format: Format, tenant: TenantId) -> list[Frame]:
        frames = []
        for published in events:
            cursor = str(self._cursor_at(published, tenant))
            data = wire_format.encode(published, cursor)
            frames.append(Frame(published.channel, published.position.offset, published.event.klass, data))
        return frames

    def _cursor_at(self, published: Published, tenant: TenantId) -> Cursor:
        if published.channel.tenant == GLOBAL_TENANT:
            return Cursor(self._seen[tenant], published.position)
        return Cursor(published.position, self._seen[GLOBAL_TENANT])
