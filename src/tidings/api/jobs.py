"""``/jobs``: handing work in and asking after it over REST (contract, sections 6, 7 and 11)."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from tidings.api import catalogue
from tidings.api.answer import Json, created, id_of, listing
from tidings.api.body import read_form, read_nothing, read_query
from tidings.api.forms import ListJobs
from tidings.api.idempotency import create_once
from tidings.api.operation import Served
from tidings.api.principal import admit
from tidings.api.services import Services
from tidings.delivery.forms import CreateJob
from tidings.delivery.once import Statements
from tidings.domain import strictjson
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.job import EXTERNAL, Job
from tidings.domain.people import Principal

_Verb = Callable[[Principal, str], Awaitable[Job]]


class Jobs:
    """The endpoints. What they act on is the user's own; the rest does not exist for them."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def served(self) -> tuple[Served, ...]:
        return (
            (catalogue.CREATE_JOB, self.create),
            (catalogue.LIST_JOBS, self.page),
            (catalogue.GET_JOB, self.get),
            (catalogue.CANCEL_JOB, self.cancel),
            (catalogue.RETRY_JOB, self.retry),
        )

    async def create(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        form, raw = await read_form(self._services, request, CreateJob)

        async def act(tx: Statements) -> tuple[int, bytes]:
            return 202, strictjson.dumps(await self._submit(tx, principal, form))

        status, body = await create_once(self._services.at_a_stroke, principal, request, raw, act)
        job_id = id_of(body)  # a repeated answer has one too
        if form.kind == EXTERNAL:
            self._services.external.committed()
        else:
            self._services.jobs.committed(job_id)
        return created(status, body, f"/jobs/{job_id}")

    async def _submit(self, tx: Statements, principal: Principal, form: CreateJob) -> dict[str, Any]:
        """What is answered: the job, and if it runs elsewhere the token to report on it with."""
        if form.kind != EXTERNAL:
            job = await self._services.jobs.submit(
                tx,
                principal,
                kind=form.kind,
                payload=form.payload,
                priority=form.priority,
                delay_seconds=form.delay_seconds,
            )
            return job.to_json()
        if form.delay_seconds:
            fault = FieldError("delaySeconds", "when an external job begins is for its own queue to say")
            raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=(fault,))
        job, token = await self._services.external.submit(
            tx, principal, payload=form.payload, priority=form.priority
        )
        return {**job.to_json(), "reporterToken": token}

    async def page(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        form = read_query(request, ListJobs)
        found = await self._services.jobs.page(
            principal,
            cursor=form.cursor,
            limit=form.limit,
            status=form.status,
            kind=form.kind,
            parent=form.parent_id,
        )
        return listing(found)

    async def get(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        return Json((await self._services.jobs.get(principal, request.path_params["id"])).to_json())

    async def cancel(self, request: Request) -> Response:
        return await self._change(request, self._services.jobs.cancel)

    async def retry(self, request: Request) -> Response:
        return await self._change(request, self._services.jobs.retry)

    async def _change(self, request: Request, verb: _Verb) -> Response:
        principal = await admit(self._services, request)
        await read_nothing(self._services, request)
        return Json((await verb(principal, request.path_params["id"])).to_json(), 202)
