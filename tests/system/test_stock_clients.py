"""Stock clients, unchanged, against a real server (contract, sections 4 and 5): "stock clients work unchanged"."""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import socketio

from scripts.source_tree import ROOT
from tests.support import programs, redis
from tests.support.processes import running
from tests.support.server import Person, Server, serving, token_for
from tests.support.streams import start_job
from tidings.domain.people import Role

CLIENTS = ROOT / "tests" / "system" / "clients"
SECONDS = 60.0


@pytest.fixture(scope="module", params=[1, 2], ids=["one-worker", "two-workers"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Of two workers, each request reaches either: "no sticky sessions needed"."""
    with ExitStack() as stack:
        settings: dict[str, object] = {}
        if request.param > 1:
            broker = stack.enter_context(redis.serving())
            settings = {"broker_url": broker.url, "workers": request.param, "worker": "true"}
        yield stack.enter_context(serving(tmp_path_factory.mktemp("server"), settings))


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


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
@pytest.mark.parametrize("module", ["socket.io-client-v2", "socket.io-client-v3", "socket.io-client"])
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
    assert said["transport"] == ["polling" if transport == "polling" else "websocket"]
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


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgrade"])
async def test_recovery(server: Server, transport: str) -> None:
    """ "Reconnecting with ``{pid, offset}`` replays exactly what was missed, in order, any number of times"."""
    user = await server.person()
    given = {"url": server.url, "token": user.token, "rounds": [0, 1, 0, 5]}
    lines = await node("recover.mjs", transport, SCENARIO=json.dumps(given))
    assert [line["recovered"] for line in lines if "recovered" in line] == [False, True, True, True, True]
    assert [line["ready"] for line in lines if "ready" in line] == [False, True, True, True, True]
    (heard,) = [line["heard"] for line in lines if "heard" in line]
    assert heard == [
        "missed 1.0",
        "missed 3.0",
        "missed 3.1",
        "missed 3.2",
        "missed 3.3",
        "missed 3.4",
        "live",
    ]


def test_without_old_clients(tmp_path: Path) -> None:
    """ "Engine.IO 4 and 3 (``TIDINGS_ALLOW_EIO3``, on)": where it is off, clients of Socket.IO 2 are refused."""
    with serving(tmp_path, {"allow_eio3": "false"}) as server:
        asked = "/socket.io/?transport=polling&EIO="
        assert [server.get(asked + version).status_code for version in "34"] == [400, 200]


# Socket.IO in Python.


@pytest.mark.parametrize("transports", [["websocket"], ["polling"], ["polling", "websocket"]])
async def test_python_socketio(server: Server, transports: list[str]) -> None:
    """ "Stock clients work unchanged": python-socketio's, with acks, events and a CONNECT_ERROR."""
    user = await server.person()
    heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def hear(event: str, *args: Any) -> None:
        await heard.put((event, args[0]))

    options = {"namespaces": ["/notifications"], "transports": transports}
    # Its own session it would leave open after a refusal.
    async with aiohttp.ClientSession() as http:
        client = socketio.AsyncClient(reconnection=False, http_session=http)
        client.on("*", hear, namespace="/notifications")
        with pytest.raises(socketio.exceptions.ConnectionError):
            await client.connect(server.url, auth={"token": "x"}, **options)
        await client.disconnect()
        await client.connect(server.url, auth={"token": user.token}, **options)
        assert (await heard.get())[0] == "notification:ready"
        given = {"title": "t", "content": "c"}
        made = await client.call("notification:create", given, namespace="/notifications")
        assert await heard.get() == ("notification:new", {"notification": made})
        assert (await heard.get())[0] == "notification:unread"
        assert client.transport() == transports[-1]
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
