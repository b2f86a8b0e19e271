"""What a request carries: its JSON body and its query, read into forms. Nothing is coerced, nothing is guessed."""

import re
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from starlette.requests import Request

from tidings.api.services import Services
from tidings.delivery.forms import Form, Nothing, fill
from tidings.domain import strictjson
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.identity.peer import values

F = TypeVar("F", bound=Form)

_JSON = re.compile(r'application/json[ \t]*(?:;[ \t]*charset=(?:utf-8|"utf-8")[ \t]*)?', re.IGNORECASE)
_INTEGER = re.compile(r"[0-9]{1,9}", re.ASCII)
_BOOLEANS = {"true": True, "false": False}


async def read_form(services: Services, request: Request, form: type[F]) -> tuple[F, bytes]:
    """The form in a JSON body, and the body as it came.

    Raises:
        TidingsError: PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MALFORMED, VALIDATION_FAILED.
        ClientDisconnect: there is nobody left to answer.
    """
    raw = await _read(request, services.max_body_bytes)
    return _form_in(raw, request, form, services.max_json_depth), raw


async def read_nothing(services: Services, request: Request) -> None:
    """The body of a request that takes none: empty or ``{}``. Raises as ``read_form`` does."""
    raw = await _read(request, services.max_body_bytes)
    if raw:
        _form_in(raw, request, Nothing, services.max_json_depth)


def read_query(request: Request, form: type[F]) -> F:
    """The form in a query string. Parameters it does not know are passed over, those without a value too.

    Raises:
        TidingsError: VALIDATION_FAILED, also for a parameter that is given twice.
    """
    kinds = {field.alias: field.annotation for field in form.model_fields.values()}
    given: dict[str, Any] = {}
    for name, text in parse_qsl(request.scope["query_string"].decode("latin-1")):
        if name in given:
            raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=(FieldError(name, "is given twice"),))
        if name in kinds:
            given[name] = _value(text, kinds[name])
    return fill(form, given)


async def _read(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TidingsError(ErrorCode.PAYLOAD_TOO_LARGE)
    return bytes(body)


def _form_in(raw: bytes, request: Request, form: type[F], max_depth: int) -> F:
    media_types = values(request.scope["headers"], b"content-type")
    if raw and (len(media_types) != 1 or _JSON.fullmatch(media_types[0].strip(" \t")) is None):
        raise TidingsError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    try:
        data = strictjson.loads(raw, max_depth=max_depth)
    except strictjson.MalformedJson as fault:
        raise TidingsError(ErrorCode.MALFORMED, detail=str(fault)) from None
    if not isinstance(data, dict):
        raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=(FieldError("", "is not an object"),))
    return fill(form, data)


def _value(text: str, kind: object) -> Any:
    """What a parameter spells; a text that spells nothing stays one, and the form says what is wrong with it."""
    if kind is bool:
        return _BOOLEANS.get(text, text)
    return int(text) if kind is int and _INTEGER.fullmatch(text) else text
