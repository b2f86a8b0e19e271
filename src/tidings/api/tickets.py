"""``POST /tickets``: what lets a browser's ``EventSource`` open one event stream (contract, sections 2 and 11)."""

import re
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from tidings.api import catalogue
from tidings.api.answer import Json
from tidings.api.body import read_form
from tidings.api.idempotency import create_once, key_of
from tidings.api.operation import Served
from tidings.api.principal import admit
from tidings.api.services import Services
from tidings.delivery.forms import CreateTicket
from tidings.delivery.once import Statements
from tidings.domain import strictjson
from tidings.domain.clock import rfc3339
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal

_INBOX = "/notifications/events"
_JOB = re.compile(r"/jobs/([^/]+)/events")


class Tickets:
    """The one endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def served(self) -> tuple[Served, ...]:
        return ((catalogue.CREATE_TICKET, self.create),)

    async def create(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        form, raw = await read_form(self._services, request, CreateTicket)
        await self._check(principal, form.for_)
        repeatable = key_of(request) is not None
        # Made before the transaction of the idempotency key: where tickets are kept may be the same database.
        # When the key turns out to have been answered, this one is never told and is spent by itself.
        ticket, until = await self._services.admission.issue_ticket(
            principal, form.for_, request.scope["headers"]
        )
        made = {"ticket": ticket, "expiresAt": rfc3339(datetime.fromtimestamp(until, UTC))}
        if not repeatable:
            return Json(made, 201)

        async def act(_: Statements) -> tuple[int, bytes]:
            return 201, strictjson.dumps(made)

        status, body = await create_once(self._services.once, principal, request, raw, act)
        return Response(body, status, media_type="application/json")

    async def _check(self, principal: Principal, path: str) -> None:
        """Raises NOT_FOUND for what is no stream of this user's."""
        if path == _INBOX:
            return
        match = _JOB.fullmatch(path)
        if match is None:
            raise TidingsError(ErrorCode.NOT_FOUND)
        await self._services.jobs.get(principal, match.group(1))
