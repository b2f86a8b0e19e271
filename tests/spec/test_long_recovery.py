"""Contract, sections 4, 5 and 9: who has missed more than an outbox may hold is told all of it, as fast as they read.

A thousand events of 8 KiB, on both brokers; an outbox is bounded to 1 MiB. Clients come back to the same place
again and again, each by another wire. The events are put where the relay finds them, which spares the time of as
many requests.
"""

import asyncio
import json
import re
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.support import redis
from tests.support.engineio import Session, Socket, bare_socket, opened, polling, probing
from tests.support.processes import wait_until
from tests.support.server import Person, Server, eventually, serving
from tests.support.streams import streaming
from tidings.domain.channel import user_channel
from tidings.domain.event import Event, EventClass
from tidings.domain.people import Role
from tidings.domain.strictjson import dumps
from tidings.store import outbox
from tidings.store.database import Database

PATH, NAMESPACE = "/socket.io/", "/notifications"
EVENT, CONNECT = f"42{NAMESPACE},", f"40{NAMESPACE},"
QUERY = "EIO=4&transport=websocket"
FIRST = 1000
FILLING = "x" * 8192
HOLDERS = 8
MIB = 2**20
STALL_SECONDS = 5
SETTINGS = {"history_events": 2 * FIRST, "write_timeout": STALL_SECONDS}


@dataclass
class Missed:
    """A user, where they went away, and how many notifications came since, numbered in their titles."""

    server: Server
    user: Person
    admin: Person
    pid: str = ""
    offset: str = ""
    number: int = 0

    @property
    def auth(self) -> dict[str, str]:
        return {"token": self.user.token, "pid": self.pid, "offset": self.offset}

    @property
    def titles(self) -> list[str]:
        return [str(number) for number in range(self.number)]

    async def more(self, number: int) -> list[str]:
        """As many notifications come; their titles."""
        made = [str(self.number + each) for each in range(number)]
        channel = user_channel(self.user.tenant_id, self.user.id)
        events = [
            (channel, Event("notification:new", notification(title), EventClass.INBOX)) for title in made
        ]
        async with Database(self.server.database) as database, database.write() as tx:
            await outbox.append(tx, events, datetime.now(UTC))
        self.number += number
        return made

    async def disconnect(self) -> None:
        async with self.server.http(self.admin) as client:
            answer = await client.post(f"/admin/users/{self.user.id}/disconnect")
            assert answer.is_success, answer.text


def notification(title: str) -> bytes:
    return dumps({"notification": {"title": title, "data": FILLING}})


@pytest.fixture(scope="module", params=["memory", "redis"])
def missed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Missed]:
    folder = tmp_path_factory.mktemp("missed")
    if request.param == "memory":
        with serving(folder, SETTINGS) as server:
            yield asyncio.run(miss(server))
        return
    with redis.serving() as broker, serving(folder, {**SETTINGS, "broker_url": broker.url}) as server:
        wait_until(lambda: server.get("/readyz").status_code == 200)
        yield asyncio.run(miss(server))


async def miss(server: Server) -> Missed:
    user, admin = await server.people(Role.USER, Role.ADMIN)
    made = Missed(server, user, admin)
    async with opened(server.port, PATH, "websocket") as session:
        made.pid, _, made.offset = await come(session, {"token": made.user.token})
    await made.more(FIRST)
    await eventually(lambda: server.gauge("tidings_events_published_total") >= FIRST)
    return made


async def come(session: Session, auth: dict[str, str]) -> tuple[str, bool, str]:
    """Connect; the ``pid``, whether it recovered, and the position."""
    await session.say(f"{CONNECT}{json.dumps(auth)}")
    answer = str(await session.hear())
    assert answer.startswith(CONNECT)
    name, ready, offset = await event(session)
    assert name == "notification:ready"
    return json.loads(answer[len(CONNECT) :])["pid"], ready["recovered"], offset


async def event(session: Session) -> list[Any]:
    """The next event with a position; how the server is may be told at any time."""
    while True:
        packet = str(await session.hear())
        assert packet.startswith(EVENT)
        heard: list[Any] = json.loads(packet[len(EVENT) :])
        if heard[0] != "system:status":
            return heard


async def titles(session: Session, number: int) -> list[str]:
    """The titles of the next notifications."""
    heard = []
    for _ in range(number):
        name, data, _ = await event(session)
        assert (name, data["notification"]["data"]) == ("notification:new", FILLING)
        heard.append(data["notification"]["title"])
    return heard


@pytest.mark.parametrize("transport", ["websocket", "polling", "upgraded"])
async def test_all_of_it(missed: Missed, transport: str) -> None:
    """ "Reconnecting with ``{pid, offset}`` replays exactly what was missed, in order", and what is live follows."""
    async with opened(missed.server.port, PATH, transport) as session:
        assert (await come(session, missed.auth))[:2] == (missed.pid, True)
        assert await titles(session, missed.number) == missed.titles
        assert await missed.more(1) == await titles(session, 1)


async def test_upgrade_amid_it(missed: Missed) -> None:
    """ "Transports ``websocket`` and ``polling`` with upgrade": the rest comes by the other wire."""
    async with polling(missed.server.port, PATH) as session:
        assert (await come(session, missed.auth))[1]
        heard = await titles(session, 100)
        async with probing(session) as upgraded:
            await upgraded.say("5")
            upgraded.waiting = session.waiting
            heard += await titles(upgraded, missed.number - 100)
            assert heard == missed.titles
            assert await missed.more(1) == await titles(upgraded, 1)


async def test_what_is_live_waits_for_its_turn(missed: Missed) -> None:
    """ "In order": what happens while the missed is told comes behind it."""
    async with opened(missed.server.port, PATH, "websocket") as session:
        assert (await come(session, missed.auth))[1]
        await missed.more(10)
        assert await titles(session, missed.number) == missed.titles


async def test_broken_off(missed: Missed) -> None:
    """ "Any number of times": who goes amid a replay goes on at their own position."""
    heard: list[str] = []
    auth = missed.auth
    while len(heard) < missed.number:
        async with bare_socket(missed.server.port, PATH, QUERY) as session:
            await session.open()
            assert (await come(session, auth))[1]
            for _ in range(min(400, missed.number - len(heard))):
                _, data, auth["offset"] = await event(session)
                heard.append(data["notification"]["title"])
            session.wire.transport.abort()
    assert heard == missed.titles


async def test_sent_away_amid_it(missed: Missed) -> None:
    """Contract, section 11: "``disconnect`` ends sockets": at once, and no position passes what was not told."""
    async with polling(missed.server.port, PATH) as session:
        assert (await come(session, missed.auth))[1]
        heard = await titles(session, 10)
        await missed.disconnect()
        while (packet := str(await session.hear())) != f"41{NAMESPACE},":
            heard.append(json.loads(packet[len(EVENT) :])[1]["notification"]["title"])
        assert heard == missed.titles[: len(heard)]
        assert len(heard) < FIRST


async def test_by_a_stream(missed: Missed) -> None:
    """Contract, section 5: "``Last-Event-ID`` resumes", however much that is."""
    async with streaming(missed.server, "/notifications/events", missed.user, after=missed.offset) as stream:
        assert (await stream.message()).id == missed.offset
        heard: list[str] = []
        await missed.more(1)
        while len(heard) < missed.number:
            heard.append((await stream.message()).data["notification"]["title"])
        assert heard == missed.titles


async def test_a_stream_that_is_not_read(missed: Missed) -> None:
    """Contract, section 2: live connections end "within 1 s of the revocation", whatever is still to be told."""
    server = missed.server
    with deaf(server) as wire:
        lines = (
            "GET /notifications/events HTTP/1.1",
            "Host: tidings",
            f"Authorization: Bearer {missed.user.token}",
            f"Last-Event-ID: {missed.offset}",
        )
        wire.sendall("\r\n".join((*lines, "\r\n")).encode())
        await eventually(lambda: server.gauge("tidings_streams_active") == 1)
        await missed.disconnect()
        await eventually(lambda: server.gauge("tidings_streams_active") == 0, STALL_SECONDS / 2)


async def test_clients_that_do_not_read(missed: Missed) -> None:
    """Contract, section 9: "its own outbox is bounded in bytes (1 MiB); it is closed with a reason"."""
    server = missed.server
    stalled = 'tidings_connections_closed_total{reason="WRITE_STALLED",transport="websocket"}'
    async with opened(server.port, PATH, "websocket") as session:
        await come(session, missed.auth)
        await titles(session, missed.number)
    before, memory = metric(server, stalled), resident(server)
    async with AsyncExitStack() as holders:
        for _ in range(HOLDERS):
            holder = await holders.enter_async_context(holding(server))
            assert (await come(holder, missed.auth))[1]
        assert server.gauge("tidings_outbox_bytes") <= HOLDERS * MIB
        # The history is read once, or is there anyway; each client has a part of it on the way.
        assert resident(server) - memory < (10 + 1.5 * HOLDERS) * MIB
        await eventually(lambda: metric(server, stalled) == before + HOLDERS, 4 * STALL_SECONDS)


@contextmanager
def deaf(server: Server) -> Iterator[socket.socket]:
    """A connection whose system takes next to nothing that is not read."""
    with socket.socket() as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.connect(("127.0.0.1", server.port))
        yield wire


@asynccontextmanager
async def holding(server: Server) -> AsyncIterator[Session]:
    """A session over such a connection."""
    with deaf(server) as small:
        url = f"ws://127.0.0.1:{server.port}{PATH}?{QUERY}"
        async with connect(url, sock=small, compression=None, ping_interval=None, max_queue=1) as wire:
            session = Socket(wire, 4)
            await session.open()
            yield session
            wire.transport.abort()


def metric(server: Server, line: str) -> float:
    found = re.search(rf"^{re.escape(line)} (\S+)$", server.get("/metrics").text, re.MULTILINE)
    return 0.0 if found is None else float(found[1])


def resident(server: Server) -> int:
    """Bytes of memory that the process uses."""
    status = Path(f"/proc/{server.child.pid}/status").read_text()
    return 1024 * int(status.split("VmRSS:")[1].split()[0])
