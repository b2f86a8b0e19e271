"""The Engine.IO document, "Upgrade": a session goes from polling to WebSocket, and nothing is lost or doubled.

Against ``tests/conformance/echo_server.py``, which echoes each message on ``/engine.io/``.
"""

import asyncio
from collections.abc import Iterator

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.conformance import conforming
from tests.support.engineio import (
    Ended,
    Packet,
    Polling,
    Socket,
    bare_socket,
    joining,
    opened,
    polling,
    probing,
)
from tests.support.http_wire import http_connection

BARE = "/engine.io/"
REVISIONS = pytest.mark.parametrize("revision", [3, 4])


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with conforming("echo_server.py") as listening:
        yield listening


async def echoed(session: Polling | Socket, *packets: Packet) -> None:
    """Say that and hear it, and nothing before it."""
    await session.say(*packets)
    assert [await session.hear() for _ in packets] == list(packets)


async def turned_away(session: Polling) -> None:
    """Ask with the session's id for a WebSocket: it is opened and closed at once, as the official suite has it.

    Its clients take a refused opening handshake for a fault of their own.
    """
    async with joining(session) as socket:
        with pytest.raises(Ended):
            await socket.hear()


# The way it goes.


@REVISIONS
async def test_upgrade(port: int, revision: int) -> None:
    """ "Successfully upgrades": ``2probe``, ``3probe``, ``6`` to the pending poll, ``5``."""
    async with polling(port, BARE, revision) as session:
        await session.ask()
        async with probing(session) as socket:
            assert await session.packets() == ["6"]
            await socket.say("5")
            await echoed(socket, "4hello", b"\x01\x02\x03\x04")


@REVISIONS
async def test_upgrade_without_waiting(port: int, revision: int) -> None:
    """A client may say ``5`` at once: the official suite does."""
    async with polling(port, BARE, revision) as session:
        await session.ask()
        async with joining(session) as socket:
            await socket.say("2probe", "5")
            assert await socket.hear() == "3probe"
            assert await session.packets() == ["6"]
            await echoed(socket, "4hello")


@REVISIONS
async def test_poll_after_the_probe(port: int, revision: int) -> None:
    """A poll that was begun again before the client heard of the probe's answer ends as well."""
    async with polling(port, BARE, revision) as session:
        await session.ask()
        async with probing(session) as socket:
            assert await session.packets() == ["6"]
            await session.ask()
            assert await session.packets() == ["6"]
            await socket.say("5")
            await echoed(socket, "4hello")


@REVISIONS
async def test_polling_goes_on_until_then(port: int, revision: int) -> None:
    """Between the probe and ``5`` the session is at the polls, in both directions."""
    async with polling(port, BARE, revision) as session, probing(session) as socket:
        await echoed(session, "4one", b"two", "4three")
        await socket.say("5")
        await echoed(socket, "4four", b"five")


@REVISIONS
async def test_what_was_not_fetched(port: int, revision: int) -> None:
    """What waited for a poll comes over the WebSocket, whole, in order, and before what follows."""
    waiting: list[Packet] = ["4one", b"\x02", "4drei 🦔", bytes(range(256)), "4" + "x" * 70_000]
    async with polling(port, BARE, revision) as session:
        await session.say(*waiting)
        async with probing(session) as socket:
            await socket.say("5", "4then")
            assert [await socket.hear() for _ in waiting] == waiting
            assert await socket.hear() == "4then"


async def test_heartbeat_after_an_upgrade(port: int) -> None:
    """The heartbeat goes on over the WebSocket; a ping that was not polled goes along."""
    async with polling(port, BARE) as session, probing(session) as socket:
        await socket.say("5")
        socket.answers_pings = False
        for _ in range(2):
            assert await socket.hear() == "2"
            await socket.say("3")
        await echoed(socket, "4alive")


# Under load.


class Talk:
    """A stock client's two loops over polling: numbers are said, two at a time, and heard again."""

    def __init__(self, session: Polling) -> None:
        self.said = 0
        self.heard: list[Packet] = []
        self._session = session
        self._falls_silent, self._stops_polling = False, False
        self._grown = asyncio.Condition()
        self._saying = asyncio.create_task(self._say())
        self._polling = asyncio.create_task(self._poll())

    async def heard_at_least(self, count: int) -> None:
        async with self._grown:
            await self._grown.wait_for(lambda: len(self.heard) >= count)

    async def pause(self) -> None:
        """End both, as before ``5``: what is under way comes to its end."""
        self._falls_silent = True
        await self._saying
        self._stops_polling = True
        await self._polling

    async def _say(self) -> None:
        while not self._falls_silent:
            await self._session.say(f"4{self.said}", str(self.said + 1).encode())
            self.said += 2

    async def _poll(self) -> None:
        while not self._stops_polling:
            await self._session.ask()
            for packet in await self._session.packets():
                if packet == "2" and self._session.revision == 4:
                    await self._session.say("3")
                elif packet != "6":
                    self.heard.append(packet)
            async with self._grown:
                self._grown.notify_all()


@pytest.mark.parametrize("after", [0, 1, 7, 40])
@REVISIONS
async def test_upgrade_under_load(port: int, revision: int, after: int) -> None:
    """No packet is lost or doubled in either direction, whenever the upgrade comes in between."""
    async with polling(port, BARE, revision) as session:
        talk = Talk(session)
        await talk.heard_at_least(after)
        async with probing(session) as socket:
            await talk.pause()
            total = talk.said + 50
            await socket.say("5", *(f"4{number}" for number in range(talk.said, total)))
            heard = talk.heard + [await socket.hear() for _ in range(total - len(talk.heard))]
    said = [packet.decode() if isinstance(packet, bytes) else packet[1:] for packet in heard]
    assert said == [str(number) for number in range(total)]


# What is refused.


@REVISIONS
async def test_requests_after_an_upgrade(port: int, revision: int) -> None:
    """ "Ignores HTTP requests with same sid after upgrade": 400, and the WebSocket lives on."""
    async with polling(port, BARE, revision) as session, probing(session) as socket:
        await socket.say("5")
        await echoed(socket, "4hello")
        assert (await session.poll()).status == 400
        with pytest.raises(Ended, match="400"):
            await session.say("4no")
        await echoed(socket, "4again")


@REVISIONS
async def test_second_websocket_after_an_upgrade(port: int, revision: int) -> None:
    """ "Ignores WebSocket connection with same sid after upgrade": it is closed, and the first lives on."""
    async with polling(port, BARE, revision) as session, probing(session) as socket:
        await socket.say("5")
        await echoed(socket, "4hello")
        await turned_away(session)
        await echoed(socket, "4again")


async def test_second_websocket_during_an_upgrade(port: int) -> None:
    """Two at once cannot carry it: the second is closed, and the first goes on."""
    async with polling(port, BARE) as session, probing(session) as socket:
        await turned_away(session)
        await echoed(session, "4polled")
        await socket.say("5")
        await echoed(socket, "4hello")


@pytest.mark.parametrize("packet", ["2", "2other", "5", "4hello", "3probe", "", "abc", b"\x02probe"])
async def test_other_than_a_probe(port: int, packet: Packet) -> None:
    """What does not begin with ``2probe`` is no upgrade: that WebSocket is closed, the session goes on polling."""
    async with polling(port, BARE) as session:
        async with joining(session) as socket:
            await socket.say(packet)
            await socket.ended()
        await echoed(session, "4polled")
        async with probing(session) as another:
            await another.say("5")
            await echoed(another, "4hello")


@pytest.mark.parametrize("packet", ["2probe", "4hello", "3", b"5"])
async def test_other_than_an_upgrade(port: int, packet: Packet) -> None:
    """What comes between the probe and ``5`` ends the WebSocket, and the session goes on polling."""
    async with polling(port, BARE) as session:
        async with probing(session) as socket:
            await socket.say(packet)
            await socket.ended()
        await echoed(session, "4polled")


async def test_dropped_upgrade(port: int) -> None:
    """A WebSocket that breaks off before ``5`` takes nothing with it; the next one may try."""
    async with polling(port, BARE) as session:
        async with probing(session) as socket:
            socket.wire.transport.abort()
            await socket.ended()
        await echoed(session, "4polled")
        async with probing(session) as another:
            await another.say("5")
            await echoed(another, "4hello")


async def test_close_during_an_upgrade(port: int) -> None:
    """A session that ends while it is probed takes the WebSocket with it."""
    async with polling(port, BARE) as session, probing(session) as socket:
        await session.say("1")
        await socket.ended()


async def test_upgrade_of_a_websocket(port: int) -> None:
    """A session that began as a WebSocket has nothing to upgrade: its id opens no other one and no poll."""
    async with opened(port, BARE, "websocket") as socket:
        sid = socket.handshake["sid"]
        with pytest.raises(InvalidStatus):
            async with bare_socket(port, BARE, f"EIO=4&transport=websocket&sid={sid}"):
                pass
        async with http_connection(port) as http:
            assert (await http.exchange("GET", f"{BARE}?EIO=4&transport=polling&sid={sid}")).status == 400
        await socket.say("4hello")
        assert await socket.hear() == "4hello"
