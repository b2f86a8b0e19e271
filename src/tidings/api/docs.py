"""``/docs``: the documentation as a page, and the document it is made from. Everything it loads is ours."""

from importlib.resources import files
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tidings.api.operation import Endpoint, only_get
from tidings.domain import strictjson

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STATIC = {
    "/docs": ("docs.html", "text/html"),
    "/docs/docs.css": ("docs.css", "text/css"),
    "/docs/docs.js": ("docs.js", "text/javascript"),
}
_HEADERS = {"Content-Security-Policy": CSP, "Cache-Control": "no-cache"}


def routes(document: dict[str, Any]) -> list[Route]:
    """Read once, served from memory."""
    folder = files("tidings.api") / "static"
    pages = [
        Route(path, only_get(_always((folder / name).read_bytes(), media_type)))
        for path, (name, media_type) in _STATIC.items()
    ]
    return [*pages, Route("/openapi.json", only_get(_always(strictjson.dumps(document), "application/json")))]


def _always(content: bytes, media_type: str) -> Endpoint:
    async def answer(_: Request) -> Response:
        return Response(content, 200, _HEADERS, media_type)

    return answer
