"""Contract, sections 9 and 10: a storm of reconnects is let in at a bounded rate, and harms nobody who is in."""

import asyncio
import time
from collections import Counter
from http import HTTPStatus
from pathlib import Path

from tests.support.server import Person, Server, serving
from tests.support.sockets import QUERY, ready

RATE = 100
STORM = 2000
SETTINGS = {"handshake_rate": RATE, "max_connections_per_ip": 2 * STORM}
SECONDS = 30.0


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


async def notified(server: Server, person: Person) -> None:
    """A notification that is sent now arrives."""
    async with ready(server, person) as socket, server.http(person) as client:
        for number in range(20):
            answer = await client.post("/notifications", json={"title": str(number), "content": "x"})
            assert answer.status_code == HTTPStatus.CREATED
            assert (await socket.event("notification:new"))["notification"]["title"] == str(number)


async def test_a_storm_is_let_in_at_the_rate(tmp_path: Path) -> None:
    """ "Accepted at a bounded rate, the rest told when to come back; existing users unharmed": 503, and a
    ``Retry-After`` that is spread over the time it takes to let them all in.
    """
    with serving(tmp_path, SETTINGS) as server:
        user = await server.person()
        resident = asyncio.create_task(notified(server, user))
        begun = time.monotonic()
        async with asyncio.timeout(SECONDS):
            storm = [
                handshake(server, "polling" if number % 4 == 0 else "websocket") for number in range(STORM)
            ]
            answers = await asyncio.gather(*storm)
        took = time.monotonic() - begun
        await resident
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
