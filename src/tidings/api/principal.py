"""Whom a request stands for, and whether that user, or that reporter, may ask once more now."""

from functools import partial

from starlette.requests import Request

from tidings import metrics
from tidings.api.services import Services
from tidings.delivery.admit import Request as Asked
from tidings.domain.audit import SecurityEventType
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal
from tidings.identity.limiter import Verdict

_USER, _JOB = "user", "job"


async def admit(services: Services, request: Request) -> Principal:
    """The request's user. From here on the response tells how much of the rate limit is left.

    Raises:
        TidingsError: UNAUTHENTICATED, RATE_LIMITED, UNAVAILABLE.
    """
    principal = await services.admission.admit(_asked(request))
    request.scope["state"]["principal"] = principal
    verdict = await services.limiter.hit(f"rest:{principal.user_id}")
    _count(services, request, verdict, _USER, "requests")
    return principal


async def admit_reporter(services: Services, request: Request, job_id: str) -> None:
    """Let in who reports on that job, with its own token; raises as ``admit`` does. Reports count by job."""
    await services.admission.admit_reporter(_asked(request), partial(services.external.knows, job_id))
    verdict = await services.report_limiter.hit(f"report:{job_id}")
    _count(services, request, verdict, _JOB, "reports")


def _asked(request: Request) -> Asked:
    scope, state = request.scope, request.scope["state"]
    query = scope["query_string"].decode("latin-1")
    return Asked(scope["headers"], query, state["peer"], state["request_id"])


def _count(services: Services, request: Request, verdict: Verdict, policy: str, what: str) -> None:
    """Tell how much is left, and refuse what is too much."""
    state = request.scope["state"]
    state["headers"] += _rate_limit(verdict, policy)
    if not verdict.allowed:
        metrics.rate_limited.labels("rest").inc()
        services.audit.write(
            SecurityEventType.RATE_LIMIT_EXCEEDED,
            peer=state["peer"],
            principal=state.get("principal"),
            request_id=state["request_id"],
            reason=what,
        )
        raise TidingsError(ErrorCode.RATE_LIMITED, retry_after=verdict.retry_after)


def _rate_limit(verdict: Verdict, policy: str) -> list[tuple[bytes, bytes]]:
    """``RateLimit-Policy`` and ``RateLimit`` (draft-ietf-httpapi-ratelimit-headers-10, sections 3 and 4).

    ``t``, the seconds until there is more, is told when there is nothing left.
    """
    wait = "" if verdict.allowed else f";t={verdict.retry_after}"
    return [
        (b"ratelimit-policy", f'"{policy}";q={verdict.limit};w={verdict.window}'.encode()),
        (b"ratelimit", f'"{policy}";r={verdict.remaining}{wait}'.encode()),
    ]
