"""Faults as problems."""

import pytest
from starlette.exceptions import HTTPException

from tidings.api.errors import as_error, respond
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.ids import new_id


@pytest.mark.parametrize("code", list(ErrorCode))
def test_every_code_of_the_catalogue_has_an_answer(code: ErrorCode) -> None:
    """The status is the catalogue's, and the media type is that of problems."""
    response = respond(TidingsError(code), new_id())
    assert response.status_code == code.status
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "code", [ErrorCode.RATE_LIMITED, ErrorCode.TOO_MANY_CONNECTIONS, ErrorCode.UNAVAILABLE]
)
def test_who_shall_come_back_is_told_when(code: ErrorCode) -> None:
    """Retry-After is there whether or not the fault brought a time."""
    assert int(respond(TidingsError(code), new_id()).headers["retry-after"]) > 0
    assert respond(TidingsError(code, retry_after=17), new_id()).headers["retry-after"] == "17"


def test_details_are_not_told() -> None:
    """What is for the log is in no response; what may be shown is."""
    fault = TidingsError(
        ErrorCode.CONFLICT, "It is over", detail="SELECT secret", fields=(FieldError("a", "b"),)
    )
    body = bytes(respond(fault, new_id()).body)
    assert b"SELECT" not in body
    assert b'"detail":"It is over"' in body
    assert b'"errors":[{"field":"a","message":"b"}]' in body


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, ErrorCode.MALFORMED),
        (404, ErrorCode.NOT_FOUND),
        (405, ErrorCode.METHOD_NOT_ALLOWED),
        (422, ErrorCode.VALIDATION_FAILED),
        (429, ErrorCode.RATE_LIMITED),
        (418, ErrorCode.INTERNAL_ERROR),
    ],
)
def test_a_framework_speaks_in_statuses(status: int, code: ErrorCode) -> None:
    """They are read as the first code of that status, and what it says beside is dropped."""
    assert as_error(HTTPException(status, "teapot")).code is code


def test_headers_of_a_framework_are_kept() -> None:
    """A 405 brings its Allow."""
    response = respond(HTTPException(405, headers={"Allow": "GET"}), new_id())
    assert response.headers["allow"] == "GET"


def test_401_names_the_scheme() -> None:
    """RFC 9110, section 11.6.1."""
    assert respond(TidingsError(ErrorCode.UNAUTHENTICATED), new_id()).headers["www-authenticate"] == "Bearer"
