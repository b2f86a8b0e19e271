"""How values are kept."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from tidings.domain.clock import milliseconds
from tidings.domain.job import JobPriority
from tidings.store.columns import Json, Moment, Rank, milliseconds_of

DIALECT = sqlite.dialect()
moments = st.integers(0, 7_000_000_000_000_000).map(
    lambda microseconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds)
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def stored_as_number(moment: datetime | None) -> int | None:
    return Moment().process_bind_param(moment, DIALECT)


@given(moments)
def test_moment(moment: datetime) -> None:
    """A moment comes back cut to whole milliseconds, as the contract shows it."""
    assert Moment().process_result_value(stored_as_number(moment), DIALECT) == milliseconds(moment)


@given(moments, moments)
def test_moments_sort(one: datetime, other: datetime) -> None:
    """The numbers stand in the order of the moments."""
    assert (milliseconds(one) < milliseconds(other)) is (milliseconds_of(one) < milliseconds_of(other))


def test_any_zone() -> None:
    """A moment is the same number in whatever zone it is told."""
    here = datetime(2026, 1, 31, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert milliseconds_of(here) == milliseconds_of(here.astimezone(UTC)) == 1_769_841_000_000


def test_no_zone() -> None:
    """A moment that does not know its zone is a fault of the program, not a guess."""
    with pytest.raises(TypeError):
        stored_as_number(datetime(2026, 1, 31))  # noqa: DTZ001 - the fault that is tested


def test_nothing() -> None:
    """None is NULL, whatever the column."""
    for column in (Moment(), Json(), Rank()):
        assert column.process_bind_param(None, DIALECT) is None
        assert column.process_result_value(None, DIALECT) is None


@given(json_values)
def test_json(value: object) -> None:
    """Any JSON value comes back as it was."""
    text = Json().process_bind_param(value, DIALECT)
    assert Json().process_result_value(text, DIALECT) == value


def test_pro_goes_first() -> None:
    """ "priorities ``pro`` over ``standard``": the lower number is served first."""
    ranks = [Rank().process_bind_param(priority, DIALECT) for priority in JobPriority]
    assert dict(zip(JobPriority, ranks, strict=True)) == {JobPriority.PRO: 0, JobPriority.STANDARD: 1}
    assert [Rank().process_result_value(rank, DIALECT) for rank in ranks] == list(JobPriority)
