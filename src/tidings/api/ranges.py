"""Ranges and conditions of a GET (RFC 9110, sections 13 and 14), as pure functions over header values.

One range of bytes is served; a header with several is ignored, as a server may (section 14.2), and so is one
that is no range at all.
"""

import re
from dataclasses import dataclass

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,18})-(\d{0,18})[ \t]*", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes ``start`` to ``start + length`` of a file."""

    start: int
    length: int

    def content_range(self, size: int) -> str:
        """The header's value (section 14.4)."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{size}"


class Unsatisfiable(Exception):
    """The range lies outside the file (section 15.5.17)."""


def span_of(value: str | None, size: int) -> Span | None:
    """The span that a ``Range`` header asks for; None: the whole file is to be sent.

    Raises:
        Unsatisfiable: no byte of it is there.
    """
    found = None if value is None else _RANGE.fullmatch(value)
    if found is None:
        return None
    first, last = found.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    if last and int(last) < start:
        return None  # section 14.1.1: invalid, and so ignored
    if start >= size:
        raise Unsatisfiable
    end = min(int(last), size - 1) if last else size - 1
    return Span(start, end - start + 1)


def _suffix(last: str, size: int) -> Span | None:
    if not last:
        return None
    length = min(int(last), size)
    if not length:
        raise Unsatisfiable
    return Span(size - length, length)


def none_match(value: str | None, tag: str) -> bool:
    """Whether ``If-None-Match`` lets the file be sent. Tags are compared weakly (section 13.1.2)."""
    if value is None:
        return True
    return value.strip() != "*" and tag not in _TAG.findall(value)


def range_applies(if_range: str | None, tag: str) -> bool:
    """Whether ``If-Range`` lets the range count: only the very tag does, strongly compared (section 13.1.5)."""
    return if_range is None or if_range.strip() == tag
