"""A page in a real browser, on an allowed origin and on another one (contract, section 4).

The page is somebody's application: it loads the stock socket.io-client, tries all there is, and reports what it
found to where it came from.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from scripts.source_tree import ROOT
from tests.support import programs
from tests.support.processes import running
from tests.support.server import Person, Server, eventually, serving

CLIENTS = ROOT / "tests" / "system" / "clients"
SECONDS = 60.0


class Pages:
    """A web server of somebody's application: one page, what it loads, and what it found out."""

    def __init__(self) -> None:
        self.config: dict[str, str] = {}
        self.result: dict[str, Any] | None = None
        pages = self
        files = {
            "/": ("text/html", CLIENTS / "page.html"),
            "/socket.io.js": (
                "text/javascript",
                CLIENTS / "node_modules" / "socket.io-client" / "dist" / "socket.io.js",
            ),
        }

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                kind, path = files.get(self.path, ("application/json", None))
                body = json.dumps(pages.config).encode() if path is None else path.read_bytes()
                self._answer(body, kind)

            def do_POST(self) -> None:
                pages.result = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self._answer(b"", "text/plain")

            def log_message(self, *_: object) -> None:
                """Nothing: what the browser asks for is not the test's news."""

            def _answer(self, body: bytes, kind: str) -> None:
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serving_pages() -> Iterator[Pages]:
    pages = Pages()
    try:
        yield pages
    finally:
        pages.close()


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """The application whose pages may use the server."""
    with serving_pages() as allowed:
        yield allowed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, pages: Pages) -> Iterator[Server]:
    settings = {"allowed_origins": pages.origin}
    with serving(tmp_path_factory.mktemp("server"), settings) as listening:
        yield listening


@contextmanager
def browsing(url: str, profile: Path) -> Iterator[None]:
    """A Chromium that shows one page."""
    flags = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--no-proxy-server",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={profile}",
    ]
    with running([programs.chromium(), *flags, url]):
        yield


async def visited(server: Server, pages: Pages, profile: Path) -> tuple[Person, dict[str, Any]]:
    """Who visited the page, and what the page could do with the server."""
    user = await server.person()
    async with server.http(user) as client:
        ticket = (await client.post("/tickets", json={"for": "/notifications/events"})).json()["ticket"]
    pages.config = {"url": server.url, "token": user.token, "ticket": ticket}
    with browsing(pages.origin, profile):
        await eventually(lambda: pages.result is not None, SECONDS)
    assert pages.result is not None
    return user, pages.result


async def test_an_allowed_page(server: Server, pages: Pages, tmp_path: Path) -> None:
    """ "Exact match against ``TIDINGS_ALLOWED_ORIGINS``": REST with its preflight, polling, upgrade, stream."""
    user, found = await visited(server, pages, tmp_path)
    assert found["rest"]["status"] == 201
    assert found["socket"]["user"]["id"] == user.id
    titles = ["First from a page", "Second from a page"]
    assert (found["socket"]["made"], found["socket"]["heard"]) == (titles, titles)
    assert (found["socket"]["began"], found["socket"]["transport"]) == ("polling", "websocket")
    first, *_, last = found["stream"]["heard"]
    assert first["type"] == "ready"
    assert last["notification"]["title"] == "To a page"


async def test_another_page(server: Server, tmp_path: Path) -> None:
    """ "A present Origin that is not allowed is 403 on every surface": with a good token and ticket all fail."""
    with serving_pages() as elsewhere:
        user, found = await visited(server, elsewhere, tmp_path)
        assert found == {
            "rest": {"fault": "TypeError"},
            "socket": {"fault": "xhr poll error"},
            "stream": {"heard": [], "closed": True},
        }
        await server.audited("ORIGIN_REJECTED", origin=elsewhere.origin)
    async with server.http(user) as client:
        assert (await client.get("/notifications")).json()["items"] == []
