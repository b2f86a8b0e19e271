"""One method of one path: how it is documented, and how it is served."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tidings.delivery.forms import Form
from tidings.domain.errors import ErrorCode

Endpoint = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Success:
    """What is answered when all is well. ``schema`` names one of ``schemas``; None: there is no body."""

    status: int
    text: str
    schema: str | None = None
    example: Any = None
    media_type: str = "application/json"
    located: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """What the documentation says of it. ``name`` is its ``operationId``.

    ``errors`` are its own; those that follow from the rest (no credential, a body, a rate limit) are added.
    ``public`` needs no credential. ``creates`` takes an ``Idempotency-Key``. ``ticket`` takes one instead of
    a token, ``reporter`` takes a job's own token and no other.
    """

    name: str
    method: str
    path: str
    tag: str
    summary: str
    success: tuple[Success, ...]
    text: str = ""
    query: type[Form] | None = None
    body: type[Form] | None = None
    example: Any = None
    errors: tuple[ErrorCode, ...] = ()
    public: bool = False
    creates: bool = False
    ticket: bool = False
    reporter: bool = False


Served = tuple[Operation, Endpoint]


def routes(served: Iterable[Served], also: Mapping[str, str] = MappingProxyType({})) -> list[Route]:
    """A route for each path, in the order in which the paths come first.

    ``also`` names, by path, a method that another room serves there.
    """
    paths: dict[str, dict[str, Endpoint]] = {}
    for operation, endpoint in served:
        paths.setdefault(operation.path, {})[operation.method] = endpoint
    return [Route(path, _Methods(endpoints, also.get(path))) for path, endpoints in paths.items()]


def only_get(endpoint: Endpoint) -> ASGIApp:
    """A path that can be read and nothing else."""
    return _Methods({"GET": endpoint})


class _Methods:
    """The methods of one path. HEAD is GET, of whose answer the server sends the head."""

    def __init__(self, endpoints: Mapping[str, Endpoint], also: str | None = None) -> None:
        self._endpoints = dict(endpoints)
        if "GET" in endpoints:
            self._endpoints["HEAD"] = endpoints["GET"]
        self._allow = ", ".join(sorted({*self._endpoints, *([also] if also else [])}))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None:
            raise HTTPException(405, headers={"Allow": self._allow})
        response = await endpoint(Request(scope, receive))
        await response(scope, receive, send)
