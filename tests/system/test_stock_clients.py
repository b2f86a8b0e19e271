"""Stock clients, unchanged, against a real server (contract, sections 4 and 5): "stock clients work unchanged"."""

import asyncio
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import socketio

from scripts.source_tree import ROOT
from tests.support import programs
from tests.support.processes import running
from tests.support.server import Person, Server, eventually, serving, token_for
from tests.support.streams import start_job
from tidings.domain.people import Role

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


async def node(*words: str, **env: str) -> list[dict[str, Any]]:
    """The JSON lines that a script prints until it ends."""
    command = [str(programs.node()), *words]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        cwd=CLIENTS,
        env={"PATH": os.environ["PATH"], **env},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


# Socket.IO in Node.


@pytest.mark.parametrize(
    ("module", "transport"), [("socket.io-client", "websocket"), ("socket.io-client-v3", "websocket")]
)
async def test_a_day(server: Server, module: str, transport: str) -> None:
    """ "Stock clients of Socket.IO 2, 3 and 4 work unchanged": every verb, every answer, in one session."""
    user, admin = await server.people(Role.USER, Role.ADMIN)
    given = {
        "url": server.url,
        "user": user.token,
        "admin": admin.token,
        "userId": user.id,
        "fresh": token_for(user.id, ttl=7200),
    }
    lines = await node("scenario.mjs", module, transport, SCENARIO=json.dumps(given))
    jobs = [line["said"] for line in lines if line["step"] == "job"]
    said = {line["step"]: line["said"] for line in lines if line["step"] != "job"}
    _check_connecting(said, user)
    _check_inbox(said, user, admin)
    _check_job(said, jobs)
    assert said["refreshed"][0].keys() == {"expiresAt"}
    assert said["disconnected"][0] == "io client disconnect"
    assert said["left over"] == [["notification:unread", "notification:unread", "notification:error"]]
    await server.audited("WEBSOCKET_DISCONNECT", userId=user.id)


def _check_connecting(said: dict[str, list[Any]], user: Person) -> None:
    refusal = {"message": "Authentication failed", "data": {"code": "UNAUTHENTICATED"}}
    assert said["refused"] == [refusal, False]
    assert said["connected"][0] is True
    assert said["connected"][2] is False
    ready, position = said["ready"]
    assert (ready["user"]["id"], ready["rooms"]) == (user.id, [f"user:{user.id}"])
    assert isinstance(position, str)


def _check_inbox(said: dict[str, list[Any]], user: Person, admin: Person) -> None:
    (told,) = said["told"]
    assert (told["createdBy"], told["userId"], told["content"]) == (admin.id, user.id, "Über 🦔")
    assert said["new"][0] == {"notification": told}
    assert said["unread"][0]["count"] == 1
    (created,) = said["created"]
    assert (created["title"], created["priority"]) == ("Own", "low")
    invalid = said["invalid"][0]["error"]
    assert {fault["field"] for fault in invalid["errors"]} == {"title", "more"}
    assert said["error"] == [invalid]
    assert said["forbidden"][0]["error"]["code"] == "FORBIDDEN"
    assert [item["id"] for item in said["listed"][0]["items"]] == [created["id"], told["id"]]
    assert (said["marked"][0]["updated"], said["marked"][0]["unread"]["count"]) == (1, 1)
    assert said["read"][0]["ids"] == [told["id"]]
    assert (said["all marked"][0]["updated"], said["all marked"][0]["unread"]["count"]) == (1, 0)
    assert said["all read"][0]["all"] is True
    assert said["unknown"][0]["code"] == "UNKNOWN_EVENT"


def _check_job(said: dict[str, list[Any]], jobs: list[list[Any]]) -> None:
    job, answer = said["subscribed"]
    assert answer == {"jobId": job, "lastEventId": jobs[0][1]}
    assert [data["type"] for data, _ in (jobs[0], jobs[-1])] == ["snapshot", "completed"]
    assert {data["jobId"] for data, _ in jobs} == {job}
    positions = [position for _, position in jobs]
    assert len(set(positions)) == len(positions)
    assert said["unsubscribed"] == [{"jobId": job}]
    assert said["strange job"][0]["error"]["code"] == "NOT_FOUND"


# Socket.IO in Python.


async def test_python_socketio(server: Server) -> None:
    """ "Stock clients work unchanged": python-socketio's, with acks, events and a CONNECT_ERROR."""
    user = await server.person()
    heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    client = socketio.AsyncClient(reconnection=False)

    async def hear(event: str, *args: Any) -> None:
        await heard.put((event, args[0]))

    client.on("*", hear, namespace="/notifications")
    options = {"namespaces": ["/notifications"], "transports": ["websocket"]}
    with pytest.raises(socketio.exceptions.ConnectionError):
        await client.connect(server.url, auth={"token": "x"}, **options)
    await client.disconnect()
    await client.connect(server.url, auth={"token": user.token}, **options)
    assert (await heard.get())[0] == "notification:ready"
    made = await client.call(
        "notification:create", {"title": "t", "content": "c"}, namespace="/notifications"
    )
    assert await heard.get() == ("notification:new", {"notification": made})
    assert (await heard.get())[0] == "notification:unread"
    await client.disconnect()
    await server.audited("WEBSOCKET_DISCONNECT", userId=user.id)


# EventSource in Node.


async def test_eventsource(server: Server) -> None:
    """ "Unnamed events (``onmessage`` sees them)"; "a reconnect gets 204, which stops ``EventSource``"."""
    user = await server.person()
    job = await start_job(server, user, steps=1000, delayMs=20)
    path = f"/jobs/{job}/events"
    async with server.http(user) as client:
        ticket = (await client.post("/tickets", json={"for": path})).json()["ticket"]
        script: list[str | Path] = [
            programs.node(),
            CLIENTS / "stream.mjs",
            f"{server.url}{path}?ticket={ticket}",
        ]
        with running(script) as reader:
            await asyncio.to_thread(reader.wait_for_output, '"type":"progress"')
            await client.post(f"/jobs/{job}/cancel")
            assert await asyncio.to_thread(reader.wait) == 0
    lines = [json.loads(line) for line in reader.output.splitlines()]
    messages = [line for line in lines if "data" in line]
    assert lines[0] == {"open": True}
    assert messages[0]["data"]["type"] == "snapshot"
    assert messages[-1]["data"]["type"] == "cancelled"
    assert all(message["id"] for message in messages)
    assert len(lines) == len(messages) + 3
    assert lines[-2:] == [{"code": None, "closed": False}, {"code": 204, "closed": True}]


# A browser.


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
    """ "Exact match against ``TIDINGS_ALLOWED_ORIGINS``": REST with its preflight, socket and stream in a browser."""
    user, found = await visited(server, pages, tmp_path)
    assert found["rest"]["status"] == 201
    assert found["socket"]["user"]["id"] == user.id
    assert found["socket"]["made"]["title"] == "From a page"
    first, *_, last = found["stream"]["heard"]
    assert first["type"] == "ready"
    assert last["notification"]["title"] == "To a page"


async def test_another_page(server: Server, tmp_path: Path) -> None:
    """ "A present Origin that is not allowed is 403 on every surface": with a good token and ticket all fail."""
    with serving_pages() as elsewhere:
        user, found = await visited(server, elsewhere, tmp_path)
        assert found == {
            "rest": {"fault": "TypeError"},
            "socket": {"fault": "websocket error"},
            "stream": {"heard": [], "closed": True},
        }
        await server.audited("ORIGIN_REJECTED", origin=elsewhere.origin)
    async with server.http(user) as client:
        assert (await client.get("/notifications")).json()["items"] == []
