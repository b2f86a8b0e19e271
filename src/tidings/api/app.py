"""The REST surface in one piece: routes behind the edge.

Plain Starlette routes and our own OpenAPI document: bodies are read more strictly than a framework would, so
its machinery would only be paid for.
"""

from collections.abc import Sequence

from starlette.routing import BaseRoute, Router
from starlette.types import ASGIApp

from tidings.api import catalogue, docs, openapi
from tidings.api.admin import Admin
from tidings.api.artifacts import Artifacts
from tidings.api.edge import Edge
from tidings.api.external import Reports
from tidings.api.health import Health
from tidings.api.jobs import Jobs
from tidings.api.metrics import Metrics
from tidings.api.notifications import Notifications
from tidings.api.operation import Served, routes
from tidings.api.services import Services
from tidings.api.tickets import Tickets


def build(services: Services, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """Everything under one ASGI application. ``more`` are routes of other rooms: streams, pages.

    What ``more`` routes raise is answered as a problem too. Paths without parameters come first, which match nothing
    else and are asked for most; then ``more``, so that ``/notifications/events`` and the like come before the paths
    here that would match them.
    """
    own = routes(operations(services), also={catalogue.JOB_EVENTS.path: catalogue.JOB_EVENTS.method})
    plain = [route for route in own if not route.param_convertors]
    rest = [route for route in own if route.param_convertors]
    router = Router([*plain, *more, *rest, *docs.routes(openapi.document())], redirect_slashes=False)
    return Edge(router, services)


def operations(services: Services) -> tuple[Served, ...]:
    """Every operation that is served here."""
    parts = (Notifications, Jobs, Artifacts, Reports, Tickets, Admin, Health, Metrics)
    return tuple(served for part in parts for served in part(services).served())
