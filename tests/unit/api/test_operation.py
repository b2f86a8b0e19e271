"""Routes out of operations."""

import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tests.support.asgi import drive, http_scope
from tidings.api.operation import Operation, Success, only_get, routes


async def answer(request: Request) -> Response:
    return PlainTextResponse(request.method)


def operation(method: str, path: str) -> Operation:
    return Operation(f"{method} {path}", method, path, "Things", "Do it", (Success(200, "Done"),))


def test_a_path_is_one_route() -> None:
    """So that a 405 can name all its methods; paths keep the order in which they came."""
    made = routes(
        [
            (operation("POST", "/b"), answer),
            (operation("GET", "/a"), answer),
            (operation("GET", "/b"), answer),
        ]
    )
    assert [route.path for route in made] == ["/b", "/a"]


async def test_a_path_that_two_rooms_serve() -> None:
    """A 405 names the other room's method too."""
    (shared,) = routes([(operation("POST", "/b"), answer)], also={"/b": "GET", "/c": "PUT"})
    with pytest.raises(HTTPException) as refused:
        await drive(shared.app, http_scope("DELETE", "/b"))
    assert refused.value.headers == {"Allow": "GET, POST"}


async def test_head_is_served_where_get_is() -> None:
    """And only there."""
    sent = await drive(only_get(answer), http_scope("HEAD", "/"))
    assert sent[0]["status"] == 200
    (posts,) = routes([(operation("POST", "/b"), answer)])
    with pytest.raises(HTTPException) as refused:
        await drive(posts.app, http_scope("HEAD", "/b"))
    assert refused.value.status_code == 405
    assert refused.value.headers == {"Allow": "POST"}
