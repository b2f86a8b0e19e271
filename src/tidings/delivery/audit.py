"""The security log: each event once to stdout as a JSON line, counted, and stored for the console.

A flood is summarised, not dropped silently: of events alike (same type and reason) so many a second are
written in full, and one more line says how many there were beyond. No line ever holds a secret, because no
caller has a field to put one in.
"""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import orjson
import structlog

from tidings import metrics
from tidings.domain.audit import Level, Peer, SecurityEvent, SecurityEventType
from tidings.domain.errors import TidingsError
from tidings.domain.ids import new_id
from tidings.domain.people import Principal

Store = Callable[[Sequence[SecurityEvent]], Awaitable[None]]
Sink = Callable[[bytes], None]

FLUSH_SECONDS = 0.5
PRINT_SECONDS = 0.05
"""How long a line may wait for others that are written with it."""
FULL_LINES = {Level.INFO: 100, Level.WARNING: 100, Level.ERROR: 100}
"""Lines of one kind between two flushes that are written in full."""
STORE_AT_ONCE = 500
"""Events of one transaction: few enough for other writers to wait, enough to share the cost of a commit."""
_UNSTORED = 20_000
_NOBODY = Peer()

_COUNTERS = {event: metrics.security_events.labels(event) for event in SecurityEventType}
_FULL = {event: FULL_LINES[event.level] for event in SecurityEventType}

_log = structlog.stdlib.get_logger("tidings.audit")
_Kind = tuple[SecurityEventType, str | None]


def to_stdout(lines: bytes) -> None:
    sys.stdout.buffer.write(lines)
    sys.stdout.buffer.flush()


class SecurityLog:
    """Written to from anywhere on the event loop; ``run`` stores what was written."""

    def __init__(self, node_id: str, store: Store, sink: Sink = to_stdout) -> None:
        self._node_id = node_id
        self._store = store
        self._sink = sink
        self._lines: list[bytes] = []
        self._unstored: list[SecurityEvent] = []
        self._counts: dict[_Kind, int] = {}

    def write(
        self,
        event: SecurityEventType,
        *,
        peer: Peer = _NOBODY,
        principal: Principal | None = None,
        client_id: str | None = None,
        request_id: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Write one event down."""
        _COUNTERS[event].inc()
        # Whose rooms they are makes joins no less alike.
        kind = (event, None if event is SecurityEventType.ROOM_JOIN else reason)
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if count > _FULL[event]:
            return
        self._put(
            SecurityEvent(
                event=event,
                timestamp=datetime.now(UTC),
                request_id=request_id or client_id or new_id(),
                node_id=self._node_id,
                client_id=client_id,
                user_id=principal.user_id if principal else None,
                tenant_id=principal.tenant_id if principal else None,
                ip=peer.ip,
                origin=peer.origin,
                user_agent=peer.user_agent,
                reason=reason,
            )
        )

    async def run(self) -> None:
        """Store until cancelled, and once more then."""
        try:
            while True:
                await asyncio.sleep(FLUSH_SECONDS)
                await self.flush()
        finally:
            await self.flush()

    async def flush(self) -> None:
        """Summarise and store what has been written since the last time."""
        self._summarise()
        self._print()
        while self._unstored:
            events = self._unstored[:STORE_AT_ONCE]
            try:
                await self._store(events)
            except TidingsError as fault:
                _log.error("security events wait", count=len(self._unstored), reason=str(fault))
                return
            del self._unstored[: len(events)]

    def _summarise(self) -> None:
        counts, self._counts = self._counts, {}
        for (event, reason), count in counts.items():
            beyond = count - _FULL[event]
            if beyond > 0:
                now = datetime.now(UTC)
                self._put(SecurityEvent(event, now, new_id(), self._node_id, reason=reason, count=beyond))

    def _put(self, event: SecurityEvent) -> None:
        if not self._lines:
            asyncio.get_running_loop().call_later(PRINT_SECONDS, self._print)
        line = event.to_json()
        line["logger"] = "security"
        self._lines.append(orjson.dumps(line))
        if len(self._unstored) < _UNSTORED:
            self._unstored.append(event)
        else:
            # It was printed all the same; ``flush`` says on each try that events wait for the database.
            metrics.security_events_unstored.inc()

    def _print(self) -> None:
        lines, self._lines = self._lines, []
        if lines:
            self._sink(b"\n".join(lines) + b"\n")
