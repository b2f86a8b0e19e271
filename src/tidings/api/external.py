"""``POST /jobs/{id}/events``: reports on a job that runs in somebody else's queue (contract, section 11).

Who reports is a program with the job's own token, and nobody's user: neither a user's token nor a cookie is
taken here. ``GET`` of the same path is the job's stream, and another room's.
"""

from starlette.requests import Request
from starlette.responses import Response

from tidings.api import catalogue
from tidings.api.body import read_form
from tidings.api.operation import Served
from tidings.api.principal import admit_reporter
from tidings.api.services import Services
from tidings.delivery.forms import ReportJob


class Reports:
    """The one endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def served(self) -> tuple[Served, ...]:
        return ((catalogue.REPORT_JOB, self.report),)

    async def report(self, request: Request) -> Response:
        job_id = request.path_params["id"]
        await admit_reporter(self._services, request, job_id)
        form, _ = await read_form(self._services, request, ReportJob)
        await self._services.external.report(job_id, form)
        return Response(status_code=204)
