"""Pages of a list: what a cursor is, and how a page is cut from rows.

Every list is ordered by id, so a cursor is the last id seen and a page stays where it is whatever is inserted
meanwhile. To clients it is an opaque word; it grants nothing, since every query names its tenant anyway.
"""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.store.columns import milliseconds_of

T = TypeVar("T")

_LONGEST_CURSOR = 512


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """``next_cursor`` is None on the last page."""

    items: tuple[T, ...]
    next_cursor: str | None


def page_of(found: Sequence[T], limit: int, id_of: Callable[[T], str]) -> Page[T]:
    """The page in ``found``, which is asked for with one item more than ``limit``: its presence tells of a next."""
    items = tuple(found[:limit])
    more = len(found) > limit
    return Page(items, write_cursor(id_of(items[-1])) if more else None)


def write_cursor(last_id: str) -> str:
    return urlsafe_b64encode(last_id.encode()).rstrip(b"=").decode()


def read_cursor(cursor: str) -> str:
    """The id that ``write_cursor`` was given.

    Raises:
        TidingsError: VALIDATION_FAILED, the text is no cursor.
    """
    last_id = _decoded(cursor)
    # Base64 has several spellings of the same bytes, and PostgreSQL's text cannot hold a NUL.
    if last_id is None or "\0" in last_id or write_cursor(last_id) != cursor:
        fault = FieldError("cursor", "is not a cursor")
        raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=(fault,))
    return last_id


def _decoded(cursor: str) -> str | None:
    if len(cursor) > _LONGEST_CURSOR:
        return None
    try:
        return urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4)).decode()
    except ValueError:
        return None


def first_id_at(moment: datetime) -> str:
    """The least UUIDv7 that can be made at ``moment`` or later (RFC 9562, section 5.7)."""
    digits = f"{milliseconds_of(moment):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"
