"""Cursors and pages."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.ids import is_id, new_id
from tidings.store.paging import first_id_at, page_of, read_cursor, write_cursor

ids = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100)


@given(ids)
def test_round_trip(last_id: str) -> None:
    """A cursor says what it was made of, whatever an id looks like."""
    assert read_cursor(write_cursor(last_id)) == last_id


@given(st.text() | st.binary().map(lambda raw: raw.decode("latin-1")))
def test_anything(text: str) -> None:
    """Whatever is sent as a cursor is read, or is the request's fault; and there is one spelling of each."""
    try:
        last_id = read_cursor(text)
    except TidingsError as error:
        assert error.code is ErrorCode.VALIDATION_FAILED  # noqa: PT017 - the other half of the promise
    else:
        assert write_cursor(last_id) == text


@pytest.mark.parametrize("text", ["!", "MDE=", "MDF", "_w", "é", "A" * 513, write_cursor("a\0b")])
def test_not_a_cursor(text: str) -> None:
    """Padding, another spelling, no UTF-8, too long, a NUL: none is a cursor, and none is repeated."""
    with pytest.raises(TidingsError) as caught:
        read_cursor(text)
    assert [fault.to_json() for fault in caught.value.fields] == [
        {"field": "cursor", "message": "is not a cursor"}
    ]


def test_page() -> None:
    """One item more than the limit tells of a next page, and is its first."""
    assert page_of(["c", "b", "a"], 2, str).items == ("c", "b")
    assert page_of(["c", "b", "a"], 2, str).next_cursor == write_cursor("b")
    assert page_of(["c", "b"], 2, str).next_cursor is None
    assert page_of([], 2, str).items == ()


def test_first_id() -> None:
    """Every id made from a moment on is greater, every id made before it is less."""
    now = datetime.now(UTC)
    made = new_id()
    assert first_id_at(now) < made < first_id_at(now + timedelta(seconds=60))
    assert is_id(first_id_at(now))
