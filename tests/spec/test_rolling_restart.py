"""Contract, section 9: two nodes are restarted one after the other, and no client misses or repeats anything."""

import asyncio
import json
import signal
from contextlib import suppress
from itertools import count
from pathlib import Path

import httpx
from websockets.exceptions import WebSocketException

from tests.support.nodes import Nodes, nodes
from tests.support.server import Person, Server, eventually
from tests.support.sockets import NAMESPACE, Closed, opened
from tests.support.streams import read, start_job

CLIENTS = 4
PACE_SECONDS = 0.02
RETRY_SECONDS = 0.05
LAST = "last"
SETTINGS = {"drain_seconds": 1, "rest_rate_per_minute": 100_000}


class Follower:
    """A client that comes again whenever it is sent away, to whichever node lets it in, and resumes."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.heard: list[str] = []
        self.draining: list[int] = []
        self.recovered: list[bool] = []
        self.begun = asyncio.Event()
        self._auth: dict[str, object] = {"token": person.token}

    async def follow(self, servers: list[Server]) -> None:
        """Until the last notification has been heard."""
        for attempt in count():
            # A node that is going away refuses the handshake, closes what it has let in, or is gone.
            with suppress(OSError, WebSocketException, Closed):
                async with opened(servers[attempt % len(servers)]) as socket:
                    await socket.connect(self._auth)
                    while True:
                        self._take(await socket.packet())
                        if LAST in self.heard:
                            return
            await asyncio.sleep(RETRY_SECONDS)

    def _take(self, packet: str) -> None:
        body = packet[3 + len(NAMESPACE) :]
        if packet.startswith(f"40{NAMESPACE},"):
            self._auth["pid"] = json.loads(body)["pid"]
        elif packet.startswith(f"42{NAMESPACE},"):
            name, data, *position = json.loads(body)
            if position:
                (self._auth["offset"],) = position
            if name == "notification:ready":
                self.recovered.append(data["recovered"])
                self.begun.set()
            elif name == "notification:new":
                self.heard.append(data["notification"]["title"])
            elif name == "system:draining":
                self.draining.append(data["reconnectAfterMs"])


async def send(servers: list[Server], person: Person, title: str) -> None:
    """Have a notification accepted once, by whichever node takes it."""
    body = {"title": title, "content": "x"}
    for attempt in count():
        server = servers[attempt % len(servers)]
        with suppress(httpx.TransportError):
            async with server.http(person, **{"Idempotency-Key": f"{person.id}-{title}"}) as client:
                answer = await client.post("/notifications", json=body)
            assert answer.status_code in {201, 503}, answer.text
            if answer.status_code == 201:
                return
        await asyncio.sleep(RETRY_SECONDS)


async def send_on(servers: list[Server], people: list[Person], restarted: asyncio.Event) -> list[str]:
    """A steady stream to everybody until the restart is over; the titles."""
    titles: list[str] = []
    while not restarted.is_set():
        titles.append(str(len(titles)))
        await asyncio.gather(*(send(servers, person, titles[-1]) for person in people))
        await asyncio.sleep(PACE_SECONDS)
    await asyncio.gather(*(send(servers, person, LAST) for person in people))
    return [*titles, LAST]


async def replace(pair: Nodes, servers: list[Server], index: int) -> None:
    """Restart one of them, as a rolling update does: it is gone before its successor is there."""
    leaving = servers[index]
    leaving.child.send(signal.SIGTERM)
    assert await asyncio.to_thread(leaving.child.wait) == 0
    servers[index] = await pair.begin(**SETTINGS)


async def test_nobody_notices_a_rolling_restart(tmp_path: Path, postgres_url: str) -> None:
    """ "Its clients reconnect anywhere and recover; nothing accepted is lost, nothing is delivered twice": each
    gets every notification once and in order, from nodes that follow one another.
    """
    async with nodes(tmp_path, postgres_url, **SETTINGS) as pair:
        servers = list(pair.each)
        people = [await servers[0].person() for _ in range(CLIENTS)]
        followers = [Follower(person) for person in people]
        following = [asyncio.create_task(follower.follow(servers)) for follower in followers]
        for follower in followers:
            await follower.begun.wait()
        restarted = asyncio.Event()
        sending = asyncio.create_task(send_on(servers, people, restarted))
        for index in range(len(servers)):
            await replace(pair, servers, index)
        restarted.set()
        titles = await sending
        async with asyncio.timeout(20):
            await asyncio.gather(*following)
    for follower in followers:
        assert follower.heard == titles
        assert follower.draining
        assert all(0 <= after <= 10_000 for after in follower.draining)
        assert follower.recovered == [False] + [True] * (len(follower.recovered) - 1)


async def test_another_worker_goes_on_at_once(tmp_path: Path, postgres_url: str) -> None:
    """ "Accepted work handed back": another node runs it long before the lease would have ended."""
    jobs = {"worker": True, "job_lease_seconds": 600}
    async with nodes(tmp_path, postgres_url, drain_seconds=0, **jobs) as pair:
        user = await pair.each[0].person()
        job = await start_job(pair.each[0], user, steps=20, delayMs=100)
        await eventually(lambda: pair.sum("tidings_jobs_running") == 1)
        staying, leaving = sorted(pair.each, key=lambda node: node.gauge("tidings_jobs_running"))
        leaving.child.send(signal.SIGTERM)
        assert await asyncio.to_thread(leaving.child.wait) == 0
        async with asyncio.timeout(15):
            story = await read(staying, job, user)
        assert (story[-1].type, story[-1].data["attempt"]) == ("completed", 2)
