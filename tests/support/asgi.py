"""Calling an ASGI application by hand, where a client would hide what it sends."""

from collections.abc import Sequence
from typing import Any

from starlette.types import ASGIApp, Message, Scope

Headers = Sequence[tuple[bytes, bytes]]


def http_scope(method: str, path: str, headers: Headers = (), query: bytes = b"") -> Scope:
    """An HTTP request as a server hands it over."""
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": list(headers),
        "client": ("192.0.2.1", 50_000),
        "server": ("127.0.0.1", 4000),
        "state": {},
    }


async def drive(app: ASGIApp, scope: Scope, received: Sequence[Message] = ()) -> list[Message]:
    """What the application sends when it receives these messages, and an empty body where there are none."""
    incoming = list(received) or [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent
