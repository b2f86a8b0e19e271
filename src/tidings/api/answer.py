"""Responses in the contract's shapes: a resource is a bare object, a list is ``{items, nextCursor}``."""

from typing import Any, Protocol

import orjson
from starlette.responses import Response

from tidings.api.services import Page
from tidings.domain import strictjson


class Resource(Protocol):
    def to_json(self) -> dict[str, Any]: ...


class Json(Response):
    """A value as compact JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return strictjson.dumps(content)


def listing(page: Page[Resource]) -> Response:
    return Json({"items": [item.to_json() for item in page.items], "nextCursor": page.next_cursor})


def id_of(body: bytes) -> str:
    """The id of what an answer shows."""
    return str(orjson.loads(body)["id"])


def created(status: int, body: bytes, location: str) -> Response:
    """What was made, with where it is."""
    return Response(body, status, {"Location": location}, media_type="application/json")
