"""``/metrics`` for Prometheus. In production it takes the metrics token; without one it is not there."""

import asyncio
import hmac

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response

from tidings.api import catalogue
from tidings.api.operation import Served
from tidings.api.services import Services
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.identity.credentials import bearer
from tidings.identity.peer import Headers, values
from tidings.identity.rejection import CredentialRejected


class Metrics:
    def __init__(self, services: Services) -> None:
        self._registry = services.metrics
        self._open = services.metrics_open
        self._token = services.metrics_token

    def served(self) -> tuple[Served, ...]:
        return ((catalogue.METRICS, self.scrape),)

    async def scrape(self, request: Request) -> Response:
        """Raises NOT_FOUND, as for a path that does not exist, for whoever may not look."""
        if not (self._open or self._is_good(request.scope["headers"])):
            raise TidingsError(ErrorCode.NOT_FOUND)
        # Those of other processes are waited for.
        text = await asyncio.to_thread(generate_latest, self._registry)
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    def _is_good(self, headers: Headers) -> bool:
        try:
            token = bearer(values(headers, b"authorization"))
        except CredentialRejected:
            return False
        if token is None or not self._token:
            return False
        return hmac.compare_digest(token.encode(), self._token.encode())
