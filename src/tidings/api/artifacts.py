"""``GET /jobs/{id}/artifacts/{name}``: the files that a job made, for its user alone (contract, section 6).

Where the storage has a URL of its own to give, the client is sent there; otherwise the bytes come from here,
a piece at a time.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tidings.api import catalogue
from tidings.api.operation import Served
from tidings.api.principal import admit
from tidings.api.ranges import Span, Unsatisfiable, none_match, range_applies, span_of
from tidings.api.services import Services
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.job import Artifact

STALLED_SECONDS = 20.0
"""How long a piece may take to be taken by the client."""

_log = structlog.stdlib.get_logger("tidings.api")


class Artifacts:
    """The endpoint."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def served(self) -> tuple[Served, ...]:
        return ((catalogue.GET_ARTIFACT, self.get),)

    async def get(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        job = await self._services.jobs.get(principal, request.path_params["id"])
        name = request.path_params["name"]
        artifact = next((one for one in job.artifacts if one.name == name), None)
        if artifact is None:
            raise TidingsError(ErrorCode.NOT_FOUND)
        headers = _headers(artifact)
        if not none_match(request.headers.get("if-none-match"), headers["ETag"]):
            return Response(status_code=304, headers={"ETag": headers["ETag"], **_PRIVATE})
        link = await self._services.files.link(artifact.key, request.method)
        if link is not None:
            return Response(status_code=307, headers={"Location": link, **_PRIVATE})
        return await self._send(request, artifact, headers)

    async def _send(self, request: Request, artifact: Artifact, headers: dict[str, str]) -> Response:
        span = _span(request, artifact, headers["ETag"])
        status = 200 if span is None else 206
        if span is not None:
            headers["Content-Range"] = span.content_range(artifact.size)
        whole = span or Span(0, artifact.size)
        headers["Content-Length"] = str(whole.length)
        if request.method == "HEAD":
            return Response(status_code=status, headers=headers)
        try:
            pieces = await self._services.files.open(artifact.key, whole.start, whole.length)
        except FileNotFoundError:
            _log.error("artifact missing", key=artifact.key)
            raise TidingsError(ErrorCode.NOT_FOUND) from None
        return _Streamed(pieces, status, headers)


_PRIVATE: Mapping[str, str] = {"Cache-Control": "private, no-store"}


def _headers(artifact: Artifact) -> dict[str, str]:
    # Names are of a few plain characters, so they need no encoding (RFC 6266, section 4.1).
    return {
        "Content-Type": artifact.media_type,
        "Content-Disposition": f'attachment; filename="{artifact.name}"',
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "ETag": f'"{artifact.digest}"',
        "Accept-Ranges": "bytes",
        **_PRIVATE,
    }


def _span(request: Request, artifact: Artifact, tag: str) -> Span | None:
    """What of it is asked for. Ranges are defined for GET alone (RFC 9110, section 14.2)."""
    if request.method != "GET" or not range_applies(request.headers.get("if-range"), tag):
        return None
    try:
        return span_of(request.headers.get("range"), artifact.size)
    except Unsatisfiable:
        raise HTTPException(416, headers={"Content-Range": f"bytes */{artifact.size}"}) from None


class _Streamed(Response):
    """Bytes as they are read. A client that takes none for a while is left."""

    def __init__(self, pieces: AsyncGenerator[bytes], status: int, headers: Mapping[str, str]) -> None:
        self._pieces = pieces
        self.status_code = status
        self.background = None
        self.init_headers(headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._pieces):
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            client = Request(scope, receive)
            async for piece in self._pieces:
                try:
                    async with asyncio.timeout(STALLED_SECONDS):
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                except TimeoutError:
                    raise ClientDisconnect from None
                if await client.is_disconnected():
                    raise ClientDisconnect
            await send({"type": "http.response.body", "body": b""})
