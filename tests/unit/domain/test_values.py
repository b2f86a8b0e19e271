"""The small values: positions, channels, times, ids, and the catalogues."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.audit import Level, SecurityEvent, SecurityEventType
from tidings.domain.channel import GLOBAL_CHANNEL, Channel, ChannelKind, job_channel, user_channel
from tidings.domain.clock import milliseconds, rfc3339, rfc3339_or_none
from tidings.domain.errors import CloseReason, ErrorCode, FieldError, TidingsError
from tidings.domain.event import EventClass
from tidings.domain.ids import is_id, new_id
from tidings.domain.job import JobEventType, JobStatus
from tidings.domain.notification import Audience, Notification, Priority
from tidings.domain.people import TenantId, UserId
from tidings.domain.position import Cursor, Position
from tidings.domain.problem import headers, problem

POSITIONS = st.builds(
    Position,
    st.text("0123456789abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=16),
    st.integers(0, 2**53),
)
NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, UTC)


@given(st.builds(Cursor, POSITIONS, POSITIONS))
def test_a_cursor_reads_what_it_wrote(cursor: Cursor) -> None:
    """``epochT.offT.epochG.offG``, both ways."""
    assert Cursor.parse(str(cursor)) == cursor


@pytest.mark.parametrize(
    "text", ["", "a.1", "a.01.b.0", "a.-1.b.0", "A.1.b.0", "a.1.b.0.", "a.1.b.0\n", "x" * 9999]
)
def test_anything_else_is_no_cursor(text: str) -> None:
    """One spelling each; the input is never repeated."""
    with pytest.raises(ValueError, match=r"^not a cursor$"):
        Cursor.parse(text)


def test_channels_are_told_apart() -> None:
    """The same name in another tenant or of another kind is another channel."""
    channels = {
        user_channel(TenantId("a"), UserId("x")),
        user_channel(TenantId("b"), UserId("x")),
        job_channel(TenantId("a"), "x"),
        GLOBAL_CHANNEL,
    }
    assert len({channel.key for channel in channels}) == len(channels) == 4


def test_times_are_rfc_3339_utc_with_milliseconds() -> None:
    """Contract: "times are RFC 3339 UTC with milliseconds"."""
    assert rfc3339(NOW) == "2026-01-31T12:00:00.123Z"
    assert rfc3339(NOW.astimezone(timezone(timedelta(hours=5)))) == "2026-01-31T12:00:00.123Z"
    assert rfc3339(NOW.replace(microsecond=0)) == "2026-01-31T12:00:00.000Z"
    assert rfc3339_or_none(None) is None
    assert milliseconds(NOW).microsecond == 123000


def test_ids_are_uuid_v7_in_order() -> None:
    """Contract: "ids are UUIDv7 strings made by the server"."""
    ids = [new_id() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert all(map(is_id, ids))
    assert not any(
        map(is_id, ["", "x", ids[0].upper(), ids[0] + "\n", ids[0].replace("-7", "-4", 1), "../" + ids[0]])
    )


def test_numbers_of_the_catalogues_are_unique() -> None:
    """Errors and close reasons are two numbered catalogues."""
    assert len({code.number for code in ErrorCode}) == len(ErrorCode)
    assert len({reason.number for reason in CloseReason}) == len(CloseReason)
    assert all(1000 <= reason.websocket < 5000 for reason in CloseReason)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("UNAUTHENTICATED", 401),
        ("FORBIDDEN", 403),
        ("NOT_FOUND", 404),
        ("CONFLICT", 409),
        ("PAYLOAD_TOO_LARGE", 413),
        ("VALIDATION_FAILED", 422),
        ("RATE_LIMITED", 429),
        ("INTERNAL_ERROR", 500),
        ("UNAVAILABLE", 503),
        ("MALFORMED", 400),
        ("METHOD_NOT_ALLOWED", 405),
        ("UNSUPPORTED_MEDIA_TYPE", 415),
        ("HEADERS_TOO_LARGE", 431),
        ("TOO_MANY_CONNECTIONS", 429),
        ("UNKNOWN_KIND", 422),
    ],
)
def test_codes_and_statuses(code: str, status: int) -> None:
    """Contract, section 3: the codes and their statuses."""
    assert ErrorCode[code].status == status


def test_a_problem_has_the_contracts_members() -> None:
    """Contract, section 3: "``type``, ``title``, ``status``, ``code``, ``requestId`` and ... ``errors``"."""
    error = TidingsError(
        ErrorCode.VALIDATION_FAILED, fields=(FieldError("title", "is missing"),), detail="not for clients"
    )
    body = problem(error, "r1")
    assert body == {
        "type": "urn:tidings:error:validation-failed",
        "title": "Validation failed",
        "status": 422,
        "code": "VALIDATION_FAILED",
        "requestId": "r1",
        "errors": [{"field": "title", "message": "is missing"}],
    }


def test_the_headers_of_errors() -> None:
    """Contract, section 3: "401 carries ``WWW-Authenticate: Bearer``"; ``Retry-After`` where there is one."""
    assert headers(TidingsError(ErrorCode.UNAUTHENTICATED))["WWW-Authenticate"] == "Bearer"
    assert headers(TidingsError(ErrorCode.UNAVAILABLE, retry_after=7))["Retry-After"] == "7"
    assert "WWW-Authenticate" not in headers(TidingsError(ErrorCode.FORBIDDEN))


def test_an_internal_error_says_nothing() -> None:
    """Contract, section 3: INTERNAL_ERROR is "Unable to process request"."""
    assert TidingsError(ErrorCode.INTERNAL_ERROR, detail="secret").to_json() == {
        "message": "Unable to process request",
        "code": "INTERNAL_ERROR",
    }


def test_every_security_event_has_its_level() -> None:
    """Contract, section 8: which are info, which warnings, which errors."""
    levels = {level: {event.name for event in SecurityEventType if event.level is level} for level in Level}
    assert levels[Level.ERROR] == {
        "SECURITY_VIOLATION",
        "RATE_LIMIT_EXCEEDED",
        "TOKEN_REVOKED",
        "CONNECTION_LIMIT_EXCEEDED",
    }
    assert levels[Level.INFO] == {
        "WEBSOCKET_CONNECT",
        "WEBSOCKET_DISCONNECT",
        "SSE_CONNECT",
        "SSE_DISCONNECT",
        "AUTHENTICATION_SUCCESS",
        "ROOM_JOIN",
    }
    assert len(levels[Level.WARNING]) == 6


def test_a_security_event_leaves_out_what_is_not_known() -> None:
    """Contract, section 8: the fields with ``?`` are there when they are known."""
    line = SecurityEvent(SecurityEventType.ROOM_JOIN, NOW, "r", "n", ip="::1").to_json()
    assert line == {
        "event": "ROOM_JOIN",
        "timestamp": "2026-01-31T12:00:00.123Z",
        "level": "info",
        "requestId": "r",
        "nodeId": "n",
        "ip": "::1",
    }


def test_a_notification_goes_where_it_is_addressed() -> None:
    """One user, one tenant, or everyone."""

    def to(audience: Audience, user: str | None) -> Channel:
        return Notification(
            "i",
            TenantId("t"),
            audience,
            None if user is None else UserId(user),
            "a",
            "b",
            Priority.LOW,
            None,
            NOW,
            UserId("me"),
        ).channel

    assert to(Audience.USER, "u") == user_channel(TenantId("t"), UserId("u"))
    assert to(Audience.TENANT, None).kind is ChannelKind.TENANT
    assert to(Audience.GLOBAL, None) == GLOBAL_CHANNEL


def test_what_may_be_conflated() -> None:
    """Contract, section 7: "Progress ... is conflated to the latest; terminal events never are"."""
    assert JobEventType.PROGRESS.klass is EventClass.PROGRESS
    assert {kind for kind in JobEventType if kind.klass is EventClass.FINAL} == {
        JobEventType.COMPLETED,
        JobEventType.FAILED,
        JobEventType.CANCELLED,
    }
    assert {status for status in JobStatus if status.finished} == {
        JobStatus.SUCCEEDED,
        JobStatus.FAILED,
        JobStatus.CANCELLED,
    }
