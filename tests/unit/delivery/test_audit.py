"""The security log: every event a line and a row; floods summarised, never dropped silently."""

import json
from collections.abc import Sequence

from tidings.delivery.audit import FULL_LINES, SecurityLog
from tidings.domain.audit import Level, Peer, SecurityEvent, SecurityEventType
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal, Role, TenantId, UserId


class Desk:
    """A log, what it printed and what it stored."""

    def __init__(self) -> None:
        self.printed = b""
        self.stored: list[SecurityEvent] = []
        self.away = False
        self.log = SecurityLog("node", self._store, self._print)

    async def _store(self, events: Sequence[SecurityEvent]) -> None:
        if self.away:
            raise TidingsError(ErrorCode.UNAVAILABLE)
        self.stored += events

    def _print(self, lines: bytes) -> None:
        self.printed += lines

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.printed.splitlines()]


async def test_a_line_has_the_contracts_fields() -> None:
    """Contract, section 8: "JSON lines with ``event, timestamp, level, requestId, nodeId, clientId?, ...``"."""
    desk = Desk()
    principal = Principal(UserId("u"), TenantId("t"), Role.USER, "e", None, 0.0)
    desk.log.write(
        SecurityEventType.ROOM_JOIN,
        peer=Peer("127.0.0.1", "http://a", "agent"),
        principal=principal,
        client_id="c",
        request_id="r",
        reason="user:u",
    )
    await desk.log.flush()
    [line] = desk.lines
    assert line.pop("timestamp")
    assert line == {
        "event": "ROOM_JOIN",
        "level": "info",
        "requestId": "r",
        "nodeId": "node",
        "clientId": "c",
        "userId": "u",
        "tenantId": "t",
        "ip": "127.0.0.1",
        "origin": "http://a",
        "userAgent": "agent",
        "reason": "user:u",
        "logger": "security",
    }
    assert desk.stored[0].reason == "user:u"


async def test_a_flood_is_summarised() -> None:
    """Contract, section 8: "Floods are summarised, not dropped silently"."""
    desk = Desk()
    limit = FULL_LINES[Level.WARNING]
    for _ in range(limit + 1000):
        desk.log.write(SecurityEventType.AUTHENTICATION_FAILED, reason="expired")
    desk.log.write(SecurityEventType.AUTHENTICATION_FAILED, reason="another")
    await desk.log.flush()
    assert len(desk.lines) == limit + 2
    assert desk.lines[-1]["count"] == 1000
    assert sum(event.count for event in desk.stored) == limit + 1001
    desk.log.write(SecurityEventType.AUTHENTICATION_FAILED, reason="expired")
    await desk.log.flush()
    assert "count" not in desk.lines[-1]


async def test_what_the_database_does_not_take_waits() -> None:
    """An absent database costs no event; the lines are printed all the same."""
    desk = Desk()
    desk.away = True
    desk.log.write(SecurityEventType.TOKEN_REVOKED)
    await desk.log.flush()
    assert len(desk.lines) == 1
    assert desk.stored == []
    desk.away = False
    await desk.log.flush()
    assert [event.event for event in desk.stored] == [SecurityEventType.TOKEN_REVOKED]
    assert len(desk.lines) == 1
