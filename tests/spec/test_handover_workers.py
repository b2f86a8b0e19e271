"""Contract, sections 4 and 9: ``tidings serve --workers 2``, where the kernel chooses whom a request reaches.

What the workers say to each other about it is held to the contract in ``test_handover``.
"""

import json
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.support import redis
from tests.support.http_wire import http_connection
from tests.support.server import Person, Server, eventually, serving

PATH = "/socket.io/?EIO=4&transport=polling"
REQUESTS = 30
"""On as many connections: that the kernel gives all of them to the same of two workers does not happen."""
NOTE = {"title": "Hello", "content": "News."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with redis.serving() as broker:
        settings = {"broker_url": broker.url, "workers": 2}
        with serving(tmp_path_factory.mktemp("workers"), settings) as listening:
            yield listening


@dataclass
class Visit:
    """A client that polls and opens a connection for every request. ``heard`` are events with their arguments."""

    server: Server
    sid: str = ""
    heard: list[list[object]] = field(default_factory=list)

    async def request(self, body: str | None = None) -> tuple[int, str]:
        async with http_connection(self.server.port) as http:
            given = None if body is None else body.encode()
            target = PATH + (f"&sid={self.sid}" if self.sid else "")
            answer = await http.exchange("GET" if body is None else "POST", target, given)
            return answer.status, answer.text

    async def open(self, person: Person, **given: object) -> dict[str, object]:
        """Let in; what CONNECT is answered with, with ``recovered`` of ``notification:ready``."""
        status, opening = await self.request()
        assert status == 200
        self.sid = json.loads(opening[1:])["sid"]
        assert await self.request(f"40/notifications,{json.dumps({'token': person.token, **given})}") == (
            200,
            "ok",
        )
        packets = (await self.request())[1].split("\x1e")
        answer: dict[str, object] = json.loads(packets[0].removeprefix("40/notifications,"))
        self._keep(packets[1:])
        while not self.heard:
            await self.hear()
        ready = self.heard.pop(0)
        assert ready[0] == "notification:ready"
        assert isinstance(ready[1], dict)
        return {**answer, "recovered": ready[1]["recovered"]}

    async def hear(self) -> None:
        status, text = await self.request()
        assert status == 200, text
        self._keep(text.split("\x1e"))

    async def titles(self, count: int) -> list[str]:
        """Of so many notifications."""
        while len(found := re.findall(r"'title': '([^']*)'", str(self.heard))) < count:
            await self.hear()
        return found

    def _keep(self, packets: list[str]) -> None:
        head = "42/notifications,"
        self.heard += [json.loads(packet[len(head) :]) for packet in packets if packet.startswith(head)]


async def post(server: Server, person: Person, *titles: str) -> None:
    async with server.http(person) as client:
        for title in titles:
            assert (await client.post("/notifications", json={**NOTE, "title": title})).status_code == 201


async def test_a_session_over_all_workers(server: Server) -> None:
    """ "no sticky sessions needed across the workers of one machine": each request may reach either."""
    user = await server.person()
    visit = Visit(server)
    await visit.open(user)
    titles = [str(number) for number in range(REQUESTS)]
    for title in titles:
        await post(server, user, title)
        await visit.hear()
    assert await visit.titles(REQUESTS) == titles
    assert server.gauge("tidings_handovers_total") > 0


async def test_recovery_at_the_other_worker(server: Server) -> None:
    """ "node killed: its clients reconnect anywhere and recover"; the old sid "gets a clean 400" anywhere."""
    user = await server.person()
    visit = Visit(server)
    pid = (await visit.open(user))["pid"]
    await post(server, user, "0", "1")
    await visit.titles(2)
    offset = visit.heard[-1][-1]
    number, _, _ = visit.sid.partition(".")
    (process,) = re.findall(rf'"number":{number},"pid":(\d+),.*"event":"worker ready"', server.child.output)
    os.kill(int(process), signal.SIGKILL)
    await eventually(lambda: server.get("/healthz").status_code == 200)
    await post(server, user, "2", "3")
    again = Visit(server)
    answer = await again.open(user, pid=pid, offset=offset)
    assert (answer["pid"], answer["recovered"]) == (pid, True)
    await post(server, user, "4")
    assert await again.titles(3) == ["2", "3", "4"]
    for _ in range(REQUESTS):
        assert (await visit.request())[0] == 400
