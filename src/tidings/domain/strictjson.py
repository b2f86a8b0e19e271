"""JSON as the contract accepts it (section 3): RFC 8259 and I-JSON (RFC 7493), nothing looser.

Refused: bytes that are no UTF-8, duplicate keys, lone surrogates, NaN and infinities, integers beyond 2^53,
nesting deeper than the limit. What comes out can be stored, compared and written again without surprises.
"""

import json
import math
import re
from typing import Any, NoReturn

import orjson

MAX_INTEGER = 2**53
MAX_DEPTH = 32
_MAX_INTEGER_DIGITS = 17
# An unterminated string is matched up to the end at once: trying again at each of its quotes would be quadratic.
_NESTING = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[{]|[\]}]', re.DOTALL)


class MalformedJson(ValueError):
    """The text is not JSON that we accept. The message names the fault and never repeats the input."""


def loads(text: bytes | str, *, max_depth: int = MAX_DEPTH) -> Any:
    """Parse one JSON text. Depth counts the outermost value: ``[]`` is 1, ``1`` is 0.

    Raises:
        MalformedJson: for every fault named above.
    """
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError:
            raise MalformedJson("not UTF-8") from None
    check_depth(text, max_depth)
    try:
        value = _DECODER.decode(text)
    except MalformedJson:
        raise
    except ValueError:
        raise MalformedJson("not JSON") from None
    _check_text(value, text)
    return value


def dumps(value: Any) -> bytes:
    """Compact UTF-8 JSON, the form whose length the limits count."""
    # A copy, because what orjson gives back holds on to its buffer: 4 KB for each event that a history keeps.
    return bytes(memoryview(orjson.dumps(value)))


def check_depth(text: str, limit: int = MAX_DEPTH) -> None:
    """Depth counts as in ``loads``. Of text that is no JSON it means nothing.

    Raises:
        MalformedJson: nested deeper than the limit.
    """
    if text.count("[") + text.count("{") <= limit:
        return
    depth = 0
    for match in _NESTING.finditer(text):
        mark = match.group()
        if mark in ("[", "{"):
            depth += 1
            if depth > limit:
                raise MalformedJson("nested too deep")
        elif mark in ("]", "}"):
            depth -= 1


def _check_text(value: Any, text: str) -> None:
    """A lone surrogate can come from an escape or, in a str that never was UTF-8, stand there itself."""
    if "\\u" not in text and text.isascii():
        return
    try:
        orjson.dumps(value)
    except TypeError:
        raise MalformedJson("lone surrogate") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise MalformedJson("duplicate key")
    return result


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_DIGITS or abs(int(digits)) > MAX_INTEGER:
        raise MalformedJson("integer beyond 2^53")
    return int(digits)


def _number(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MalformedJson("number out of range")
    return value


def _constant(_name: str) -> NoReturn:
    raise MalformedJson("not a JSON value")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_number, parse_constant=_constant
)
