"""Payloads held against a JSON Schema, without the kind's model: the same is refused, in the same words or alike."""

import json
from typing import Annotated, Any, Literal, Union

import pytest
from pydantic import BaseModel, ConfigDict, Field

from tidings.domain.errors import FieldError
from tidings.jobs.kinds import FAULTS_SHOWN
from tidings.jobs.payloads import faults

SECRET = "hunter2"


class Line(BaseModel):
    text: Annotated[str, Field(min_length=1, max_length=3, pattern=r"^\p{L}+$")]
    size: Literal["small", "large"] = "small"


class Order(BaseModel):
    model_config = ConfigDict(extra="forbid")

    year: Annotated[int, Field(ge=2000, lt=2100)]
    lines: Annotated[list[Line], Field(max_length=2)] = []
    note: str | None = None
    either: int | list[int] | None = None
    counts: dict[Annotated[str, Field(pattern="^c")], int] = {}
    inner: Union["Order", None] = None


def found(schema: dict[str, Any], payload: dict[str, Any]) -> dict[str, str]:
    return {fault.field: fault.message for fault in faults(json.dumps(schema), payload)}


@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        ({"year": 2026}, {}),
        ({"year": 2026.0, "note": None, "inner": {"year": 2026, "lines": [{"text": "äé"}]}}, {}),
        ({}, {"payload.year": "Field required"}),
        ({"year": SECRET}, {"payload.year": "Input should be a valid integer"}),
        ({"year": True}, {"payload.year": "Input should be a valid integer"}),
        ({"year": 1999}, {"payload.year": "Input should be greater than or equal to 2000"}),
        ({"year": 2100}, {"payload.year": "Input should be less than 2100"}),
        ({"year": 2026, SECRET: 1}, {f"payload.{SECRET}": "Extra inputs are not permitted"}),
        ({"year": 2026, "note": [SECRET]}, {"payload.note": "Input should be a valid string"}),
        (
            {"year": 2026, "either": SECRET},
            {"payload.either": "Input fits none of the forms that are allowed"},
        ),
        ({"year": 2026, "counts": {"c": SECRET}}, {"payload.counts.c": "Input should be a valid integer"}),
        (
            {"year": 2026, "inner": {"lines": [{"text": "a"}, {"text": "a1", "size": SECRET}]}},
            {
                "payload.inner.year": "Field required",
                "payload.inner.lines.1.text": r"String should match pattern '^\p{L}+$'",
                "payload.inner.lines.1.size": "Input should be 'small' or 'large'",
            },
        ),
        ({"year": 2026, "lines": [{"text": "a"}] * 3}, {"payload.lines": "The length should be at most 2"}),
    ],
)
def test_as_the_model_has_it(payload: dict[str, Any], wrong: dict[str, str]) -> None:
    """Each fault has its field; what was given is in no message."""
    assert found(Order.model_json_schema(), payload) == wrong


@pytest.mark.parametrize(
    ("schema", "value", "message"),
    [
        ({"const": 1}, SECRET, "Input should be 1"),
        ({"type": ["integer", "null"]}, SECRET, "Input should be a valid integer or null"),
        ({"not": {"type": "string"}}, SECRET, "Input is not as the kind's schema wants it"),
        ({"additionalProperties": {"type": "null"}}, {"x": SECRET}, "Input should be null"),
        (False, SECRET, "Input is not as the kind's schema wants it"),
        ({"enum": list(range(1000))}, SECRET, "Input should be "),
    ],
)
def test_other_schemas(schema: Any, value: Any, message: str) -> None:
    """Whatever a schema says, a fault is told in few words, none of them the user's."""
    ((_, told),) = found({"properties": {"x": schema}}, {"x": value}).items()
    assert told.startswith(message)
    assert SECRET not in told
    assert len(told) <= 300


def test_bounded() -> None:
    """Of a payload that is wrong all over the first faults are told, and paths are cut."""
    schema = json.dumps({"additionalProperties": False})
    told = faults(schema, {f"{n}{'x' * 1000}": n for n in range(1000)})
    assert len(told) == FAULTS_SHOWN
    assert {len(fault.field) for fault in told} == {200}


def test_patterns_take_no_time() -> None:
    """A pattern is matched in linear time, as by the model; with Python's engine these would never end."""
    slow = "^(a+)+$"
    payload = {"a" * 50 + "!": 1, "text": "a" * 50 + "!"}
    schema = {
        "properties": {"text": {"pattern": slow}},
        "patternProperties": {slow: {"type": "null"}},
        "additionalProperties": {"type": "string"},
    }
    assert found(schema, payload) == {
        "payload.text": f"String should match pattern '{slow}'",
        f"payload.{'a' * 50}!": "Input should be a valid string",
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"x": {"pattern": "(?=a)"}}},
        {"patternProperties": {"(?=x)": {"type": "null"}}, "additionalProperties": False},
        {"properties": {"x": {"format": "date"}}},
        {"properties": {"x": {"$ref": "http://127.0.0.1:9/schema.json"}}},
        {"properties": {"x": {"$ref": "#/$defs/missing"}}},
        {"properties": 7},
    ],
)
def test_left_to_the_worker(schema: dict[str, Any]) -> None:
    """What cannot be told here is the model's to refuse. Nothing is fetched to tell it."""
    assert faults(json.dumps(schema), {"x": "b"}) == ()


def test_large_numbers() -> None:
    """A schema's numbers may be larger than JSON's integers on the wire are."""
    schema = json.dumps({"properties": {"n": {"maximum": 10**30}}})
    assert faults(schema, {"n": 1}) == ()
    assert faults(schema, {"n": 1e31}) == (
        FieldError("payload.n", f"Input should be less than or equal to {10**30}"),
    )
