"""Ranges and conditions, clause by clause of RFC 9110."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.api.ranges import Span, Unsatisfiable, none_match, range_applies, span_of

TAG = '"abc"'


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("bytes=0-0", Span(0, 1)),
        ("bytes=0-499", Span(0, 500)),
        ("bytes=500-999", Span(500, 500)),
        ("bytes=-500", Span(500, 500)),
        ("bytes=9-", Span(9, 991)),
        ("bytes=900-5000", Span(900, 100)),
        ("bytes=-5000", Span(0, 1000)),
        ("Bytes= 1-2 ", Span(1, 2)),
    ],
)
def test_one_range(value: str, span: Span) -> None:
    """Section 14.1.2: first to last, from a place on, or the last so many; cut at the end of the file."""
    assert span_of(value, 1000) == span


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=2-1",
        "bytes=a-b",
        "items=0-1",
        "bytes=0-1,3-4",
        "bytes=0 - 1",
    ],
)
def test_no_range(value: str | None) -> None:
    """Section 14.2: what is no range, or of another unit, is ignored, and so are several at once."""
    assert span_of(value, 1000) is None


@pytest.mark.parametrize(
    ("value", "size"), [("bytes=1000-", 1000), ("bytes=1000-2000", 1000), ("bytes=-0", 1000), ("bytes=-1", 0)]
)
def test_beyond_the_end(value: str, size: int) -> None:
    """Section 15.5.17: a range that holds no byte of the file."""
    with pytest.raises(Unsatisfiable):
        span_of(value, size)


def test_what_was_sent() -> None:
    """Section 14.4: first and last position, and the whole size."""
    assert Span(42, 1192).content_range(1234) == "bytes 42-1233/1234"


@given(st.text(), st.integers(0, 100))
def test_anything_is_answered(value: str, size: int) -> None:
    """Whatever the header holds, it is a span within the file, none, or beyond it."""
    try:
        span = span_of("bytes=" + value, size)
    except Unsatisfiable:
        return
    if span is not None:
        assert 0 <= span.start < span.start + span.length <= size


@pytest.mark.parametrize(
    ("value", "matches"),
    [
        (None, False),
        (TAG, True),
        (f"W/{TAG}", True),
        (f'"x", {TAG}', True),
        ('"x"', False),
        ("*", True),
        ("", False),
    ],
)
def test_if_none_match(value: str | None, *, matches: bool) -> None:
    """Section 13.1.2: weakly compared; `*` is whatever there is."""
    assert none_match(value, TAG) is not matches


@pytest.mark.parametrize(
    ("value", "applies"), [(None, True), (TAG, True), (f"W/{TAG}", False), ('"x"', False)]
)
def test_if_range(value: str | None, *, applies: bool) -> None:
    """Section 13.1.5: strongly compared; a date is none that we gave."""
    assert range_applies(value, TAG) is applies
