"""Whom a request stands for, and whether that user may ask once more now."""

from starlette.requests import Request

from tidings import metrics
from tidings.api.services import Services
from tidings.delivery.admit import Request as Asked
from tidings.domain.audit import SecurityEventType
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal
from tidings.identity.limiter import Verdict

_POLICY = "user"


async def admit(services: Services, request: Request) -> Principal:
    """The request's user. From here on the response tells how much of the rate limit is left.

    Raises:
        TidingsError: UNAUTHENTICATED, RATE_LIMITED, UNAVAILABLE.
    """
    scope, state = request.scope, request.scope["state"]
    query = scope["query_string"].decode("latin-1")
    principal = await services.admission.admit(
        Asked(scope["headers"], query, state["peer"], state["request_id"])
    )
    state["principal"] = principal
    verdict = await services.limiter.hit(f"rest:{principal.user_id}")
    state["headers"] += _rate_limit(verdict)
    if not verdict.allowed:
        metrics.rate_limited.labels("rest").inc()
        services.audit.write(
            SecurityEventType.RATE_LIMIT_EXCEEDED,
            peer=state["peer"],
            principal=principal,
            request_id=state["request_id"],
            reason="requests",
        )
        raise TidingsError(ErrorCode.RATE_LIMITED, retry_after=verdict.retry_after)
    return principal


def _rate_limit(verdict: Verdict) -> list[tuple[bytes, bytes]]:
    """``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4).

    ``t``, the seconds until there is more, is told when there is nothing left.
    """
    wait = "" if verdict.allowed else f";t={verdict.retry_after}"
    return [
        (b"ratelimit-policy", f'"{_POLICY}";q={verdict.limit};w={verdict.window}'.encode()),
        (b"ratelimit", f'"{_POLICY}";r={verdict.remaining}{wait}'.encode()),
    ]
