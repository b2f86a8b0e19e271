"""JSON as the contract accepts it: everything that two parsers could read differently is refused."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.domain.strictjson import MAX_INTEGER, MalformedJson, dumps, loads

CHARACTERS = st.characters(exclude_categories=["Cs"])
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(CHARACTERS),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(CHARACTERS), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_reads_what_it_writes(value: object) -> None:
    """Whatever can be said in JSON survives both ways."""
    assert loads(dumps(value)) == value


@given(VALUES)
def test_reads_escapes_like_any_parser(value: object) -> None:
    """ASCII with escapes says the same, surrogate pairs included."""
    assert loads(json.dumps(value)) == value


@given(st.text() | st.binary())
def test_never_raises_anything_else(text: str | bytes) -> None:
    """Arbitrary input is read or refused."""
    with contextlib.suppress(MalformedJson):
        loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"a":{"b":1,"b":1}}',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'{"\\ud800":1}',
        "\ud800",
        '"\ud800"',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"1e999",
        b"9007199254740993",
        b"-9007199254740993",
        b"1" + b"0" * 5000,
        b'"\xff"',
        b"\xef\xbb\xbf{}",
        b"",
        b" ",
        b"1 2",
        b"{}x",
        b"'a'",
        b"{a:1}",
        b"[1,]",
        b'"a\nb"',
        b"01",
        b"+1",
    ],
)
def test_refuses(text: bytes | str) -> None:
    """Contract, section 3: "not JSON, duplicate keys, lone surrogates, NaN, integers beyond 2^53, depth"."""
    with pytest.raises(MalformedJson):
        loads(text)


def test_the_greatest_integers_are_accepted() -> None:
    """Integers up to 2^53, of either sign."""
    assert loads(b"[9007199254740992,-9007199254740992]") == [MAX_INTEGER, -MAX_INTEGER]


def test_depth_counts_the_outermost_value() -> None:
    """Contract, section 11: "JSON depth counts the outermost value"."""
    assert loads(b"[" * 32 + b"]" * 32, max_depth=32)
    with pytest.raises(MalformedJson):
        loads(b"[" * 33 + b"]" * 33, max_depth=32)
    with pytest.raises(MalformedJson):
        loads(b'{"a":' * 33 + b"1" + b"}" * 33, max_depth=32)


def test_brackets_in_strings_are_no_depth() -> None:
    """Only what nests counts."""
    text = json.dumps(["[" * 100, '"' + "[" * 100, "\\" + "{" * 100])
    assert loads(text, max_depth=1) == json.loads(text)


def test_wide_is_not_deep() -> None:
    """Many brackets beside each other are fine."""
    assert len(loads(b"[" + b",".join([b"[]"] * 1000) + b"]", max_depth=2)) == 1000


@pytest.mark.parametrize("text", ["[" * 40 + '"' + '\\"' * 130_000, '"[' * 60_000 + "\\" * 99_999])
def test_hostile_text_costs_its_length_once(text: str) -> None:
    """An unterminated string is scanned once; were it scanned from each quote, this test would take minutes."""
    with pytest.raises(MalformedJson):
        loads(text)
