"""``/console/session``: a token in exchange for a cookie, who the cookie stands for, and its end.

The cookie holds the token itself, so nothing is kept here: it ends with the token, by expiry, by revocation or with
its user. Signing out makes the browser forget it; the token is the user's and stays good elsewhere. Only pages of
this server sign in and out: another one could otherwise sign a visitor in as somebody else.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from tidings import metrics
from tidings.delivery.admit import Admission
from tidings.delivery.admit import Request as Asked
from tidings.delivery.audit import SecurityLog
from tidings.delivery.forms import Form, fill
from tidings.domain import strictjson
from tidings.domain.audit import SecurityEventType
from tidings.domain.clock import rfc3339
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.people import Principal
from tidings.identity.limiter import Limiter
from tidings.identity.peer import values

COOKIE_MAX_BYTES = 4096
"""Of name and value together: what browsers keep (RFC 6265bis, section 5.7)."""

_BODY_MAX_BYTES = 16 * 1024
_SECURE_PREFIX = "__Host-"


class SignIn(Form):
    token: Annotated[str, Field(min_length=1, max_length=8192)]


@dataclass(frozen=True, slots=True)
class Services:
    """``limiter`` counts by address, for nobody is known yet. ``own_origins`` are the server's own addresses.

    ``cookie_name`` with the prefix for https makes a cookie that is sent by https alone.
    """

    admission: Admission
    audit: SecurityLog
    limiter: Limiter
    own_origins: frozenset[str]
    cookie_name: str


class Session:
    """The endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._flags = "; Path=/; HttpOnly; SameSite=Strict"
        if services.cookie_name.startswith(_SECURE_PREFIX):
            self._flags += "; Secure"

    async def answer(self, request: Request) -> Response:
        await self._count(request)
        if request.method == "POST":
            return await self._sign_in(request)
        if request.method == "DELETE":
            return self._sign_out(request)
        return await self._who(request)

    async def _sign_in(self, request: Request) -> Response:
        """Raises FORBIDDEN, UNAUTHENTICATED and what is wrong with the body."""
        self._only_own_pages(request)
        token = (await _form(request)).token
        principal = await self._services.admission.admit_token(asked(request), token)
        if len(self._services.cookie_name) + len(token) > COOKIE_MAX_BYTES:
            fault = FieldError("token", f"is over what a cookie holds, {COOKIE_MAX_BYTES} bytes")
            raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=(fault,))
        self._write(SecurityEventType.AUTHENTICATION_SUCCESS, request, "console", principal)
        return self._with_cookie(token, max(0, int(principal.expires_at - time.time())))

    def _sign_out(self, request: Request) -> Response:
        """For whoever asks, so that a cookie which is no good any more can be dropped too."""
        self._only_own_pages(request)
        return self._with_cookie("", 0)

    async def _who(self, request: Request) -> Response:
        """Whom the credential stands for; 204 without one, which is no failed attempt.

        Raises UNAUTHENTICATED for a credential that is no good, or that may not be used from there.
        """
        headers = request.scope["headers"]
        cookies = (pair.partition("=")[0].strip() for pair in ";".join(values(headers, b"cookie")).split(";"))
        if self._services.cookie_name not in cookies and not values(headers, b"authorization"):
            self.refuse_token(request)
            return Response(status_code=204)
        principal = await self._services.admission.admit(asked(request))
        return Response(strictjson.dumps(_shown(principal)), media_type="application/json")

    def refuse_token(self, request: Request) -> None:
        """Raises UNAUTHENTICATED, and writes it down, if there is a token in the query."""
        self._services.admission.refuse_token_in_query(asked(request))

    def _with_cookie(self, value: str, seconds: int) -> Response:
        cookie = f"{self._services.cookie_name}={value}; Max-Age={seconds}{self._flags}"
        return Response(status_code=204, headers={"Set-Cookie": cookie})

    def _only_own_pages(self, request: Request) -> None:
        """Raises FORBIDDEN for what no page of this server asks. Browsers that tell no site tell an Origin."""
        headers = request.scope["headers"]
        sites, origins = values(headers, b"sec-fetch-site"), values(headers, b"origin")
        own = (
            sites == ["same-origin"]
            if sites
            else len(origins) == 1 and origins[0] in self._services.own_origins
        )
        if not own:
            self._write(SecurityEventType.ORIGIN_REJECTED, request, "not a page of the console")
            raise TidingsError(ErrorCode.FORBIDDEN, detail="not a page of the console")

    async def _count(self, request: Request) -> None:
        """Raises RATE_LIMITED."""
        verdict = await self._services.limiter.hit(f"console:{request.scope['state']['peer'].ip}")
        if not verdict.allowed:
            metrics.rate_limited.labels("rest").inc()
            self._write(SecurityEventType.RATE_LIMIT_EXCEEDED, request, "console")
            raise TidingsError(ErrorCode.RATE_LIMITED, retry_after=verdict.retry_after)

    def _write(
        self, event: SecurityEventType, request: Request, reason: str, principal: Principal | None = None
    ) -> None:
        state = request.scope["state"]
        self._services.audit.write(
            event, peer=state["peer"], principal=principal, request_id=state["request_id"], reason=reason
        )


def asked(request: Request) -> Asked:
    """What of the request can hold a credential."""
    scope, state = request.scope, request.scope["state"]
    query = scope["query_string"].decode("latin-1")
    return Asked(scope["headers"], query, state["peer"], state["request_id"])


async def _form(request: Request) -> SignIn:
    """Raises PAYLOAD_TOO_LARGE, UNSUPPORTED_MEDIA_TYPE, MALFORMED, VALIDATION_FAILED.

    The media type is one that a page of another site cannot send unasked.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_MAX_BYTES:
            raise TidingsError(ErrorCode.PAYLOAD_TOO_LARGE)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise TidingsError(ErrorCode.UNSUPPORTED_MEDIA_TYPE)
    try:
        return fill(SignIn, strictjson.loads(bytes(body), max_depth=2))
    except strictjson.MalformedJson as fault:
        raise TidingsError(ErrorCode.MALFORMED, detail=str(fault)) from None


def _shown(principal: Principal) -> dict[str, object]:
    return {
        "user": {
            "id": principal.user_id,
            "tenantId": principal.tenant_id,
            "email": principal.email,
            "name": principal.name,
            "role": principal.role.value,
        },
        "expiresAt": rfc3339(datetime.fromtimestamp(principal.expires_at, UTC)),
    }
