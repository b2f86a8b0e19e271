"""Contract, sections 5, 7, 9 and 11: what becomes of clients, jobs and notifications when a server goes away."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from tests.support.server import Person, Server, eventually, serving
from tests.support.sockets import opened, ready
from tests.support.streams import read, start_job, streaming

NOTE = {"title": "Hello", "content": "News."}
POLLING = {"EIO": "4", "transport": "polling"}
SETTINGS = {"drain_seconds": 1, "job_lease_seconds": 1}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path, SETTINGS) as running:
        yield running


async def ended(server: Server) -> int:
    """The exit code, waited for while clients go on."""
    return await asyncio.to_thread(server.child.wait)


async def under_way(server: Server, person: Person, **payload: int) -> str:
    """A job that has told of progress."""
    job = await start_job(server, person, **payload)
    async with streaming(server, f"/jobs/{job}/events", person) as stream:
        while (await stream.message()).type != "progress":
            pass
    return job


# SIGTERM.


async def test_clients_are_told(server: Server) -> None:
    """ "SIGTERM: clients told and released over a jittered window, exit 0 within 30 s"; "closed on drain"."""
    user = await server.person()
    async with (
        ready(server, user) as socket,
        opened(server) as stranger,
        streaming(server, "/notifications/events", user) as stream,
    ):
        await stream.message()
        server.child.send(signal.SIGTERM)
        told = await socket.event("system:draining")
        assert told.keys() == {"reconnectAfterMs"}
        assert 0 <= told["reconnectAfterMs"] <= 10_000
        assert await socket.closing(seconds=5) == 1012
        await stream.rest()
        await stranger.closing(seconds=5)
        assert not stranger.heard
    assert await ended(server) == 0


async def test_polling_clients_are_told(server: Server) -> None:
    """ "clients told and released": a pending poll ends with a close packet, let in or not, and holds up nothing."""
    user = await server.person()
    async with httpx.AsyncClient(base_url=server.url, timeout=20) as http:

        async def poll(sid: str) -> str:
            return (await http.get("/socket.io/", params={**POLLING, "sid": sid})).text

        async def opening() -> str:
            packet = (await http.get("/socket.io/", params=POLLING)).text
            return str(json.loads(packet[1:])["sid"])

        stranger, sid = await opening(), await opening()
        connect = "40/notifications," + json.dumps({"token": user.token})
        await http.post("/socket.io/", params={**POLLING, "sid": sid}, content=connect)
        assert "notification:ready" in await poll(sid)
        polls = asyncio.gather(poll(stranger), poll(sid))
        server.child.send(signal.SIGTERM)
        unknown, told = await polls
        assert unknown == "1"
        assert "system:draining" in told
        with suppress(httpx.HTTPError):
            assert await poll(sid) == "1"
        assert await ended(server) == 0


async def test_nothing_new_while_draining(server: Server) -> None:
    """ "Readiness goes red, new connections refused"; "new requests get 503 with ``Retry-After``"."""
    user = await server.person()
    await under_way(server, user, steps=1000, delayMs=20)
    async with server.http(user) as client:
        assert (await client.get("/readyz")).status_code == 200
        server.child.send(signal.SIGTERM)
        await eventually(lambda: '"event":"draining"' in server.child.output.replace(" ", ""))
        assert (await client.get("/readyz")).status_code == 503
        assert (await client.get("/healthz")).status_code == 200
        for answer in (await client.get("/notifications"), await client.post("/notifications", json=NOTE)):
            assert (answer.status_code, answer.json()["code"]) == (503, "UNAVAILABLE")
            assert int(answer.headers["retry-after"]) > 0
    with pytest.raises(InvalidStatus) as refused:
        async with opened(server):
            pass
    assert refused.value.response.status_code == 503
    assert int(refused.value.response.headers["Retry-After"]) > 0
    assert await ended(server) == 0


async def test_a_second_signal_hurries(tmp_path: Path) -> None:
    """ "Exit 0 within 30 s": at once for who asks twice, whatever the window."""
    with serving(tmp_path, {"drain_seconds": 25}) as server:
        user = await server.person()
        async with ready(server, user) as socket:
            server.child.send(signal.SIGTERM)
            await socket.event("system:draining")
            server.child.send(signal.SIGTERM)
            await socket.closing(seconds=5)
        assert await asyncio.to_thread(server.child.wait, 10) == 0


async def test_short_jobs_are_finished(server: Server, tmp_path: Path) -> None:
    """ "Accepted work finished": a job that ends within the window ends in this server, at its first attempt."""
    user = await server.person()
    job = await under_way(server, user, steps=10, delayMs=30)
    server.child.send(signal.SIGTERM)
    assert await ended(server) == 0
    with serving(tmp_path, SETTINGS) as following:
        (only,) = await read(following, job, user)
    assert (only.type, only.data["attempt"]) == ("completed", 1)


async def test_other_jobs_are_handed_back(tmp_path: Path) -> None:
    """ "Or handed back": the next server on the same database runs what was running, and what had not begun."""
    with serving(tmp_path, SETTINGS | {"drain_seconds": 0, "job_concurrency": 1}) as server:
        user = await server.person()
        jobs = [await under_way(server, user, steps=8, delayMs=100)]
        jobs += [await start_job(server, user, steps=1, delayMs=0) for _ in range(5)]
        server.child.send(signal.SIGTERM)
        assert await ended(server) == 0
    with serving(tmp_path, SETTINGS) as following:
        stories = await asyncio.gather(*(read(following, job, user) for job in jobs))
    assert [story[-1].type for story in stories] == ["completed"] * 6


# SIGKILL.


async def test_jobs_survive_the_server(server: Server, tmp_path: Path) -> None:
    """ "A worker killed with SIGKILL loses no job; it runs again within 15 s"; "every accepted job gets a terminal
    event, even if its worker dies".
    """
    user = await server.person()
    job = await under_way(server, user, steps=6, delayMs=100)
    server.child.send(signal.SIGKILL)
    assert await ended(server) == -signal.SIGKILL
    with serving(tmp_path, SETTINGS) as following:
        async with asyncio.timeout(15):
            story = await read(following, job, user)
        assert (story[-1].type, story[-1].data["attempt"]) == ("completed", 2)
        async with following.http(user) as client:
            assert (await client.get(f"/jobs/{job}")).json()["status"] == "succeeded"


async def test_no_orphans(server: Server) -> None:
    """A killed server leaves no process behind that goes on with a job that another will run again."""
    user = await server.person()
    await under_way(server, user, steps=1000, delayMs=50)
    assert len(_session(server.child.pid)) > 1
    server.child.send(signal.SIGKILL)
    await ended(server)
    await eventually(lambda: not _session(server.child.pid), seconds=5)


def _session(leader: int) -> list[int]:
    """The processes that live in the leader's session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(ProcessLookupError, PermissionError, FileNotFoundError):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if os.getsid(int(entry.name)) == leader and state != "Z":
                    found.append(int(entry.name))
    return found


async def test_accepted_notifications_are_never_lost(server: Server, tmp_path: Path) -> None:
    """ "Node killed: nothing accepted is lost": what a 201 was said to in a flood is in the inbox afterwards."""
    user = await server.person()
    accepted: list[str] = []

    async def flood(client: httpx.AsyncClient) -> None:
        with suppress(httpx.TransportError):
            while True:
                answer = await client.post("/notifications", json=NOTE)
                assert answer.status_code == 201, answer.text
                accepted.append(answer.json()["id"])

    async with server.http(user) as client:
        floods = [asyncio.create_task(flood(client)) for _ in range(8)]
        await eventually(lambda: len(accepted) >= 100)
        server.child.send(signal.SIGKILL)
        await asyncio.gather(*floods)
    with serving(tmp_path, SETTINGS) as following:
        stored = await _inbox(following, user)
        assert set(accepted) <= set(stored)
        assert len(stored) == len(set(stored))
        async with following.http(user) as client:
            assert (await client.get("/notifications/unread")).json()["count"] == len(stored)


async def _inbox(server: Server, user: Person) -> list[str]:
    """The ids of everything in the inbox, page by page."""
    ids: list[str] = []
    cursor: str | None = ""
    async with server.http(user) as client:
        while cursor is not None:
            asked = {"limit": "100", **({"cursor": cursor} if cursor else {})}
            page = (await client.get("/notifications", params=asked)).json()
            ids += [item["id"] for item in page["items"]]
            cursor = page["nextCursor"]
    return ids
