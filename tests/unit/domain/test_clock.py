"""Times as the contract writes them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from tidings.domain.clock import read_rfc3339, rfc3339


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-31T12:00:00Z", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123Z", datetime(2026, 1, 31, 12, 0, 0, 123_000, tzinfo=UTC)),
        ("2026-01-31T12:00:00.123456789Z", datetime(2026, 1, 31, 12, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-01-31T14:00:00+02:00", datetime(2026, 1, 31, 12, tzinfo=UTC)),
        ("1970-01-01T00:00:00Z", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_read(text: str, moment: datetime) -> None:
    """RFC 3339 (section 5.6), whatever its zone and however fine."""
    assert read_rfc3339(text) == moment
    assert read_rfc3339(text).tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2026-01-31",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:00.Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+02:00",
        "9999-12-31T23:59:59-01:00",
        "0000-01-01T00:00:00Z",
        "\N{FULLWIDTH DIGIT TWO}026-01-31T12:00:00Z",
    ],
)
def test_what_is_none(text: str) -> None:
    """No zone, no such day, before 1970, or something else altogether."""
    with pytest.raises(ValueError, match="is no time"):
        read_rfc3339(text)


def test_what_is_written_can_be_read() -> None:
    """To the millisecond."""
    moment = datetime(2026, 1, 31, 12, 0, 0, 123_999, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(moment) == "2026-01-31T11:00:00.123Z"
    assert rfc3339(read_rfc3339(rfc3339(moment))) == rfc3339(moment)
