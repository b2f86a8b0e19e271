"""The console's files: one page, its style and its scripts, as they lie in ``static``. Read once, served from memory.

They are the same for everybody and hold nothing personal, so no credential is asked for; what the page shows it
gets from REST and event streams, with the cookie that ``session`` gives.
"""

import hashlib
from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

PATH = "/console"

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""Nothing inline, nothing framed, nothing from elsewhere; and no script may make markup out of text."""

_PAGE = "index.html"
_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

Answer = Callable[[Request], Awaitable[Response]]


def routes(refuse_token: Callable[[Request], None]) -> list[Route]:
    """A route for each file. ``refuse_token`` raises for a request that has a token in its query."""
    found = {file.name: file.read_bytes() for file in (files("tidings.console") / "static").iterdir()}
    page = _always(found.pop(_PAGE), "text/html", refuse_token)
    return [
        Route(PATH, page),
        Route(f"{PATH}/", page),
        *(
            Route(f"{PATH}/{name}", _always(content, _TYPES[name.rpartition(".")[2]], refuse_token))
            for name, content in sorted(found.items())
        ),
    ]


def _always(content: bytes, media_type: str, refuse_token: Callable[[Request], None]) -> Answer:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {"Content-Security-Policy": CSP, "Cache-Control": "no-cache", "ETag": etag}

    async def answer(request: Request) -> Response:
        refuse_token(request)
        if etag in _tags(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=headers)
        return Response(content, 200, headers, media_type)

    return answer


def _tags(if_none_match: str) -> set[str]:
    """The tags that a client has; a weak one is as good here (RFC 9110, section 13.1.2)."""
    return {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
