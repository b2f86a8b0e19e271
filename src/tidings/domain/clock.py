"""Times as the contract writes them: RFC 3339 (section 5.6) UTC with milliseconds."""

from datetime import UTC, datetime


def rfc3339(moment: datetime) -> str:
    """``2026-01-31T12:00:00.123Z``. The moment must know its zone."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def rfc3339_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def milliseconds(moment: datetime) -> datetime:
    """The same moment cut to whole milliseconds, as it is stored and shown."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
