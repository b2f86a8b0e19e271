"""Payloads held against a kind's JSON Schema (2020-12), for processes that do not have the kind's model.

What is wrong is said as the model would say it, field by field, and never repeats the input. Formats are left to
the model, and so is what cannot be told here: a pattern that only Python's engine knows, a schema that refers to
another document. Nothing is fetched.
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from itertools import chain, islice
from typing import Any, cast

import structlog
from jsonschema import Draft202012Validator, SchemaError, ValidationError
from jsonschema.validators import extend
from pydantic_core import SchemaError as CoreSchemaError
from pydantic_core import SchemaValidator, core_schema
from referencing import Registry
from referencing.exceptions import Unresolvable

from tidings.domain.errors import FieldError
from tidings.jobs.kinds import FAULTS_SHOWN, fault_at

_SCHEMAS_KEPT = 256
_PATTERNS_KEPT = 1024
_MESSAGE_MAX = 300
_TYPES = {
    "array": "a valid list",
    "boolean": "a valid boolean",
    "integer": "a valid integer",
    "null": "null",
    "number": "a valid number",
    "object": "an object",
    "string": "a valid string",
}
_MESSAGES = {
    "required": "Field required",
    "additionalProperties": "Extra inputs are not permitted",
    "minimum": "Input should be greater than or equal to {}",
    "exclusiveMinimum": "Input should be greater than {}",
    "maximum": "Input should be less than or equal to {}",
    "exclusiveMaximum": "Input should be less than {}",
    "multipleOf": "Input should be a multiple of {}",
    "pattern": "String should match pattern '{}'",
    "minLength": "The length should be at least {}",
    "maxLength": "The length should be at most {}",
    "minItems": "The length should be at least {}",
    "maxItems": "The length should be at most {}",
    "minProperties": "The length should be at least {}",
    "maxProperties": "The length should be at most {}",
    "uniqueItems": "Items should not repeat",
    "anyOf": "Input fits none of the forms that are allowed",
    "oneOf": "Input does not fit exactly one of the forms that are allowed",
}

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.jobs")


def faults(schema: str, payload: dict[str, Any]) -> tuple[FieldError, ...]:
    """What is wrong with a payload, at most ``FAULTS_SHOWN`` of it; the schema is JSON."""
    validator = _validator(schema)
    if validator is None:
        return ()
    found = chain.from_iterable(map(_meant, validator.iter_errors(payload)))
    try:
        return tuple(fault_at(one.absolute_path, _message(one)) for one in islice(found, FAULTS_SHOWN))
    except Unresolvable as fault:
        _log.warning(
            "a kind's schema refers to another document, its payloads are not checked", exc_info=fault
        )
        return ()


@lru_cache(maxsize=_SCHEMAS_KEPT)
def _validator(schema: str) -> Draft202012Validator | None:
    """The compiled schema; None: it is none."""
    parsed = json.loads(schema)
    try:
        _Checker.check_schema(parsed, format_checker=None)  # it would know patterns of Python's engine alone
    except SchemaError as fault:
        _log.warning("a kind's schema is no JSON Schema, its payloads are not checked", reason=fault.message)
        return None
    made: Draft202012Validator = _Checker(parsed, registry=Registry())
    return made


def _meant(error: ValidationError) -> Iterator[ValidationError]:
    """The error itself; if it is of a choice between one form and null, those of the form."""
    branches = [one for one in error.context or () if one.validator_value != "null"]
    if len({one.relative_schema_path[0] for one in branches}) == 1:
        for one in branches:
            yield from _meant(one)
    else:
        yield error


def _message(error: ValidationError) -> str:
    keyword, wanted = str(error.validator), cast("Any", error.validator_value)
    if keyword == "type":
        types = [wanted] if isinstance(wanted, str) else wanted
        return f"Input should be {' or '.join(_TYPES[each] for each in types)}"
    if keyword in ("const", "enum"):
        values = [wanted] if keyword == "const" else wanted
        return f"Input should be {' or '.join(map(repr, values))}"[:_MESSAGE_MAX]
    text = _MESSAGES.get(keyword, "Input is not as the kind's schema wants it")
    return text.format(wanted)[:_MESSAGE_MAX]


def _required(
    _: Draft202012Validator, names: list[str], instance: object, __: object
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in names:
            if name not in instance:
                yield ValidationError("", path=(name,))


def _additional(
    validator: Draft202012Validator, allowed: Any, instance: object, schema: dict[str, Any]
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in instance.items():
        if name in named or any(_matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield ValidationError("", path=(name,))
        else:
            yield from validator.descend(value, allowed, path=name)


def _by_pattern(
    validator: Draft202012Validator, patterns: dict[str, Any], instance: object, _: object
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for pattern, schema in patterns.items():
            for name, value in instance.items():
                if _engine(pattern) is not None and _matches(pattern, name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _pattern(
    _: Draft202012Validator, pattern: str, instance: object, __: object
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _matches(pattern, instance):
        yield ValidationError("")


def _matches(pattern: str, text: str) -> bool:
    """Whether it matches, or there is no telling."""
    engine = _engine(pattern)
    return engine is None or engine.isinstance_python(text)


@lru_cache(maxsize=_PATTERNS_KEPT)
def _engine(pattern: str) -> SchemaValidator | None:
    """The engine of the models, whose time is linear in the text whatever the pattern; None: not for this one."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern))
    except CoreSchemaError:
        return None


_Checker = extend(  # type: ignore[no-untyped-call]  # its stub has no types
    Draft202012Validator,
    {
        "required": _required,
        "additionalProperties": _additional,
        "patternProperties": _by_pattern,
        "pattern": _pattern,
    },
)
