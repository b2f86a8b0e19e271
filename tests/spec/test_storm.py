"""Contract, sections 9 and 10: a storm of reconnects is let in at a bounded rate, and harms nobody who is in.

``make chaos`` lets ten thousand come at once.
"""

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest

from tests.support.server import Server, serving
from tests.support.sockets import QUERY, Socket, ready

pytestmark = pytest.mark.chaos

CHAOS = os.environ.get("TIDINGS_CHAOS") == "full"
RATE = 500 if CHAOS else 100
STORM = 10_000 if CHAOS else 2000
SETTINGS = {"handshake_rate": RATE, "max_connections_per_ip": 2 * STORM}
SECONDS = 120.0 if CHAOS else 30.0


async def handshake(server: Server, transport: str) -> tuple[int, dict[str, str]]:
    """Ask to be let in; the status and the headers of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    upgrade = (
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    query = QUERY.replace("websocket", transport)
    lines = (
        f"GET /socket.io/?{query} HTTP/1.1\r\nHost: x\r\n{upgrade if transport == 'websocket' else ''}\r\n"
    )
    try:
        writer.write(lines.encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        writer.close()
    status, *headers = head.strip().split("\r\n")
    return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in headers)


@dataclass
class Resident:
    """A user who is in."""

    socket: Socket
    client: httpx.AsyncClient

    async def notified(self, number: int) -> None:
        """As many notifications that are sent now arrive."""
        for title in map(str, range(number)):
            answer = await self.client.post("/notifications", json={"title": title, "content": "x"})
            assert answer.status_code == HTTPStatus.CREATED
            assert (await self.socket.event("notification:new"))["notification"]["title"] == title


@asynccontextmanager
async def resident(server: Server) -> AsyncIterator[Resident]:
    """One whose connections, for what is heard and for what is asked, were open before."""
    person = await server.person()
    async with ready(server, person) as socket, server.http(person) as client:
        made = Resident(socket, client)
        await made.notified(1)
        yield made


async def test_a_storm_is_let_in_at_the_rate(tmp_path: Path) -> None:
    """ "Accepted at a bounded rate, the rest told when to come back; existing users unharmed": 503, and a
    ``Retry-After`` that is spread over the time it takes to let them all in.
    """
    with serving(tmp_path, SETTINGS) as server:
        async with resident(server) as user, asyncio.timeout(SECONDS):
            unharmed = asyncio.create_task(user.notified(20))
            begun = time.monotonic()
            storm = [
                handshake(server, "polling" if number % 4 == 0 else "websocket") for number in range(STORM)
            ]
            answers = await asyncio.gather(*storm)
            took = time.monotonic() - begun
            await unharmed
    statuses = Counter(status for status, _ in answers)
    accepted = statuses[HTTPStatus.SWITCHING_PROTOCOLS] + statuses[HTTPStatus.OK]
    refused = [headers for status, headers in answers if status == HTTPStatus.SERVICE_UNAVAILABLE]
    assert accepted + len(refused) == STORM
    assert 1 <= accepted <= RATE * (1 + took) + 1
    assert all(headers["content-type"] == "application/problem+json" for headers in refused)
    times = Counter(int(headers["retry-after"]) for headers in refused)
    # The places are given while the line moves on.
    assert max(times) >= len(refused) / RATE - took
    # Nobody is told a second in which so many come that they are refused again.
    assert max(times.values()) <= 2 * RATE
