"""Times as the contract writes them: RFC 3339 (section 5.6) UTC with milliseconds."""

import re
from datetime import UTC, datetime

_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(moment: datetime) -> str:
    """``2026-01-31T12:00:00.123Z``. The moment must know its zone."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return moment.isoformat(timespec="milliseconds")[:-6] + "Z"


def rfc3339_or_none(moment: datetime | None) -> str | None:
    return None if moment is None else rfc3339(moment)


def read_rfc3339(text: str) -> datetime:
    """The moment that an RFC 3339 date-time with capital ``T`` and ``Z`` names, from 1970 on, in UTC.

    Raises:
        ValueError: it names none.
    """
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC) if _DATE_TIME.fullmatch(text) else None
    except (ValueError, OverflowError):
        moment = None
    if moment is None or moment < _EPOCH:
        raise ValueError("is no time like 2026-01-31T12:00:00.000Z, from 1970 on")
    return moment


def milliseconds(moment: datetime) -> datetime:
    """The same moment cut to whole milliseconds, as it is stored and shown."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
