"""The OpenAPI 3.1 document, written from the catalogue of operations, the forms and the schemas."""

import re
from collections.abc import Iterable
from importlib.metadata import version
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from tidings.api import catalogue
from tidings.api.idempotency import HEADER as IDEMPOTENCY_KEY
from tidings.api.operation import Operation, Success
from tidings.api.schemas import EXAMPLES, SCHEMAS, problem_example, reference
from tidings.delivery.forms import Form
from tidings.delivery.once import KEY_MAX
from tidings.domain.errors import ErrorCode
from tidings.domain.problem import MEDIA_TYPE as PROBLEM

_ABOUT = """\
Notifications and live job progress for the users of multi-tenant applications.

JSON is camelCase, times are RFC 3339 UTC with milliseconds, ids are UUIDv7 strings made by the server. Unknown \
JSON fields are refused. Lists are `{items, nextCursor}`; `nextCursor` goes into the next request's `cursor`.

Errors are `application/problem+json` (RFC 9457) with a `code` and the `requestId` under which the server's log \
tells more. What belongs to someone else answers exactly as if it did not exist.

A user may make 600 requests a minute, unless the operator set another limit; `RateLimit` and `RateLimit-Policy` tell what is left, `Retry-After` when \
there is more.
"""
_PATH_NAMES = re.compile(r"\{(\w+)\}")
_CREDENTIALS: list[dict[str, list[str]]] = [{"bearer": []}]
_ALWAYS = (ErrorCode.FORBIDDEN, ErrorCode.INTERNAL_ERROR, ErrorCode.UNAVAILABLE)
_ADMITTED = (ErrorCode.UNAUTHENTICATED, ErrorCode.RATE_LIMITED)
_WITH_BODY = (
    ErrorCode.MALFORMED,
    ErrorCode.PAYLOAD_TOO_LARGE,
    ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    ErrorCode.VALIDATION_FAILED,
)
_RETRY_AFTER = {"Retry-After": {"description": "whole seconds", "schema": {"type": "integer"}}}
_LOCATION = {"Location": {"description": "where it is", "schema": {"type": "string"}}}


def document(operations: Iterable[Operation] = catalogue.ALL) -> dict[str, Any]:
    """The whole document (OpenAPI 3.1.1)."""
    operations = tuple(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    codes = {codes for operation in operations for codes in _errors(operation).values()}
    forms = {operation.body for operation in operations if operation.body is not None}
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "Tidings",
            "version": version("tidings"),
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in catalogue.TAGS.items()],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "ticket": {"type": "apiKey", "in": "query", "name": "ticket"},
                "reporter": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "the `reporterToken` of the one job",
                },
            },
            "schemas": {**SCHEMAS, **{form.__name__: _schema(form) for form in _by_name(forms)}},
            "responses": {
                _error_name(alike): _error_response(alike) for alike in sorted(codes, key=_error_name)
            },
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "tags": [operation.tag],
        "summary": operation.summary,
        "operationId": operation.name,
        "security": _security(operation),
        "responses": {
            **{str(success.status): _success(success) for success in operation.success},
            **_error_references(operation),
        },
    }
    if operation.text:
        described["description"] = operation.text
    if parameters := _parameters(operation):
        described["parameters"] = parameters
    if operation.body is not None:
        content = {"schema": reference(operation.body.__name__), "example": operation.example}
        described["requestBody"] = {"required": True, "content": {"application/json": content}}
    return described


def _security(operation: Operation) -> list[dict[str, list[str]]]:
    if operation.public:
        return []
    if operation.reporter:
        return [{"reporter": []}]
    return [*_CREDENTIALS, {"ticket": []}] if operation.ticket else _CREDENTIALS


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _in_path(name)}
        for name in _PATH_NAMES.findall(operation.path)
    ]
    if operation.query is not None:
        schema = _schema(operation.query)["properties"]
        found += [{"name": name, "in": "query", "schema": _given(schema[name])} for name in schema]
    if operation.creates:
        found.append(
            {
                "name": IDEMPOTENCY_KEY,
                "in": "header",
                "description": "the same key and body within 24 h answers the first result again, another body 409",
                "schema": {"type": "string", "minLength": 1, "maxLength": KEY_MAX},
            }
        )
    if operation.ticket:
        found.append({"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}})
    return found


def _in_path(name: str) -> dict[str, str]:
    return {"type": "string", "format": "uuid"} if name == "id" else {"type": "string"}


def _success(success: Success) -> dict[str, Any]:
    response: dict[str, Any] = {"description": success.text}
    if success.located:
        response["headers"] = _LOCATION
    if success.schema is not None:
        example = success.example or EXAMPLES[success.schema]
        response["content"] = {success.media_type: {"schema": reference(success.schema), "example": example}}
    elif success.media_type != "application/json":
        response["content"] = {success.media_type: {"schema": {"type": "string"}}}
    return response


def _errors(operation: Operation) -> dict[int, tuple[ErrorCode, ...]]:
    """The operation's errors by status, in the order of the catalogue."""
    known = {*_ALWAYS, *operation.errors}
    known |= set() if operation.public else {*_ADMITTED}
    known |= {*_WITH_BODY} if operation.body is not None else set()
    known |= {ErrorCode.VALIDATION_FAILED} if operation.query is not None else set()
    known |= {ErrorCode.CONFLICT} if operation.creates else set()
    answered = {success.status for success in operation.success}
    statuses = sorted({code.status for code in known} - answered)
    return {
        status: tuple(code for code in ErrorCode if code in known and code.status == status)
        for status in statuses
    }


def _error_references(operation: Operation) -> dict[str, Any]:
    return {
        str(status): {"$ref": f"#/components/responses/{_error_name(codes)}"}
        for status, codes in _errors(operation).items()
    }


def _error_name(codes: tuple[ErrorCode, ...]) -> str:
    return ".".join(code.name for code in codes)


def _error_response(codes: tuple[ErrorCode, ...]) -> dict[str, Any]:
    examples = {code.name: {"value": problem_example(code)} for code in codes}
    content = {PROBLEM: {"schema": reference("Problem"), "examples": examples}}
    response: dict[str, Any] = {"description": " or ".join(code.title for code in codes), "content": content}
    if codes[0].status in {429, 503}:
        response["headers"] = _RETRY_AFTER
    return response


def _by_name(forms: set[type[Form]]) -> list[type[Form]]:
    return sorted(forms, key=lambda form: form.__name__)


def _schema(form: type[Form]) -> dict[str, Any]:
    """A form's schema; enumerations stand where they are used."""
    schema = form.model_json_schema(schema_generator=_Plain)
    definitions = schema.pop("$defs", {})
    schema["properties"] = {name: _inlined(part, definitions) for name, part in schema["properties"].items()}
    return schema


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(part, definitions) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return {**definitions[name], **{key: value for key, value in schema.items() if key != "$ref"}}
    return {key: _inlined(value, definitions) for key, value in schema.items()}


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is there or not; it is never null."""
    choices = [choice for choice in schema.get("anyOf", []) if choice != {"type": "null"}]
    return choices[0] if choices else schema


class _Plain(GenerateJsonSchema):
    """Without the titles that only repeat the names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False
