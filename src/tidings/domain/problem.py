"""Errors as HTTP bodies: ``application/problem+json`` (RFC 9457) with the contract's members (section 3)."""

from typing import Any

from tidings.domain.errors import TidingsError

MEDIA_TYPE = "application/problem+json"


def problem(error: TidingsError, request_id: str) -> dict[str, Any]:
    """The body. Apart from ``requestId`` it depends on nothing but the error."""
    body: dict[str, Any] = {
        "type": f"urn:tidings:error:{error.code.name.lower().replace('_', '-')}",
        "title": error.code.title,
        "status": error.code.status,
        "code": error.code.name,
        "requestId": request_id,
    }
    if error.message != error.code.title:
        body["detail"] = error.message
    if error.fields:
        body["errors"] = [field.to_json() for field in error.fields]
    return body


def headers(error: TidingsError) -> dict[str, str]:
    """The headers that belong to the error, whatever the body."""
    result = {"Content-Type": MEDIA_TYPE, "Cache-Control": "no-store", **SECURITY_HEADERS}
    if error.retry_after is not None:
        result["Retry-After"] = str(error.retry_after)
    if error.code.status == 401:  # noqa: PLR2004  the status is the clause
        result["WWW-Authenticate"] = "Bearer"
    return result


SECURITY_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
"""On every response (contract, section 11)."""

HSTS = ("Strict-Transport-Security", "max-age=31536000")
"""On every response of a server whose public address is https."""
