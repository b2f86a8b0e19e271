"""Whatever goes wrong, as a problem (RFC 9457). What clients are told is in the catalogue; the rest is logged."""

from collections.abc import Mapping

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import Response

from tidings import metrics
from tidings.domain import problem, strictjson
from tidings.domain.errors import ErrorCode, TidingsError

_RETRY_SECONDS = 5
_CODES = {code.status: code for code in reversed(ErrorCode)}
"""The first of the catalogue for each status."""
_TRY_AGAIN = frozenset({429, 503})

_log = structlog.stdlib.get_logger("tidings.api")


def respond(fault: Exception, request_id: str) -> Response:
    """The answer to a request that failed, which is counted and logged under the request's id."""
    error = as_error(fault)
    headers = problem.headers(error)
    if isinstance(fault, HTTPException):
        headers |= dict(fault.headers or {})
    if error.code.status in _TRY_AGAIN:
        headers.setdefault("Retry-After", str(_RETRY_SECONDS))
    _note(fault, error, request_id)
    return _response(error, headers, request_id)


def as_error(fault: Exception) -> TidingsError:
    """The catalogue's error for a fault. What is not foreseen is INTERNAL_ERROR and tells nothing."""
    if isinstance(fault, TidingsError):
        return fault
    if isinstance(fault, HTTPException):
        return TidingsError(_CODES.get(fault.status_code, ErrorCode.INTERNAL_ERROR))
    return TidingsError(ErrorCode.INTERNAL_ERROR)


def _response(error: TidingsError, headers: Mapping[str, str], request_id: str) -> Response:
    body = strictjson.dumps(problem.problem(error, request_id))
    return Response(body, error.code.status, headers)


def _note(fault: Exception, error: TidingsError, request_id: str) -> None:
    metrics.refusals.labels("rest", error.code.name).inc()
    if error.code is ErrorCode.INTERNAL_ERROR:
        _log.error("request failed", requestId=request_id, exc_info=fault)
    else:
        write = _log.warning if error.code is ErrorCode.UNAVAILABLE else _log.info
        write("request refused", requestId=request_id, code=error.code.name, detail=error.detail)
