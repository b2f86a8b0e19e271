"""The clients that connect, over each transport, against a server that answers what each test says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.connect.connector import Connecting, Connector, Transport, build_connector, connecting
from bench.harness.process import BenchmarkError, two_cores
from tests.support.bench_peers import CLOSE, TEXT, UPGRADED, Peer, event, frame, listening

OPENING = b'0{"sid":"s1","upgrades":["websocket"],"pingInterval":25000}'
JOIN = b'40/notifications,{"token":"t"}'
JOINED = b'40/notifications,{"sid":"x"}'
READY = b'42/notifications,["notification:ready",{}]'


@dataclass(frozen=True, slots=True)
class Bed:
    """Clients, and their connections to the server in the order in which they came."""

    connector: Connector
    peers: "asyncio.Queue[Peer]"

    async def begin(self) -> tuple[asyncio.Task[Connecting], Peer]:
        """One client; its first connection."""
        task = asyncio.create_task(self.connector.connect(1))
        return task, await self.peers.get()


Meet = Callable[[Transport], AbstractAsyncContextManager[Bed]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_connector(tmp_path_factory.mktemp("connector"))


@pytest.fixture
def meet(program: Path) -> Meet:
    """A server, and clients of it that use one transport."""

    @contextlib.asynccontextmanager
    async def meet(transport: Transport) -> AsyncIterator[Bed]:
        peers: asyncio.Queue[Peer] = asyncio.Queue()
        writers: list[asyncio.StreamWriter] = []

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writers.append(writer)
            await peers.put(Peer(reader, writer))

        async with (
            listening(accept) as port,
            connecting(
                program, port=port, tokens=["t"], transport=transport, cpu=two_cores()[1]
            ) as connector,
        ):
            yield Bed(connector, peers)
            for writer in writers:
                writer.close()

    return meet


async def open_polling(opening: Peer) -> None:
    """Answer the opening GET, and see CONNECT come."""
    head, _ = await opening.request()
    assert head.startswith(b"GET /socket.io/?EIO=4&transport=polling&t=")
    opening.respond(OPENING)
    head, body = await opening.request()
    assert head.startswith(b"POST /socket.io/?EIO=4&transport=polling&t=")
    assert b"&sid=s1 " in head
    assert body == JOIN


async def test_over_websocket_the_answer_to_connect_is_enough(meet: Meet) -> None:
    """It is not connected before, and leaves with a closing handshake."""
    async with meet(Transport.WEBSOCKET) as bed:
        task, peer = await bed.begin()
        await peer.greet()
        assert peer.join == JOIN
        assert not task.done()
        peer.writer.write(frame(TEXT, JOINED))
        assert (await task).seconds > 0
        closing = asyncio.create_task(bed.connector.close())
        assert await peer.receive() == (CLOSE, b"\x03\xe8")
        peer.writer.close()
        await closing


async def test_over_polling_the_next_get_waits(meet: Meet) -> None:
    """Connected is who has the answers to its POST and to CONNECT; it keeps one connection, with a GET."""
    async with meet(Transport.POLLING) as bed:
        task, opening = await bed.begin()
        await open_polling(opening)
        polls = await bed.peers.get()
        await polls.request()
        polls.respond(JOINED + b"\x1e" + READY)
        head, _ = await polls.request()
        assert b"&sid=s1 " in head
        assert not task.done()
        opening.respond(b"ok")
        await task
        assert await opening.reader.read() == b""


@dataclass(frozen=True, slots=True)
class Upgrading:
    """A session that has sent CONNECT and the probe, neither of which is answered; a GET waits."""

    task: asyncio.Task[Connecting]
    opening: Peer
    socket: Peer
    polls: Peer


async def probe(bed: Bed) -> Upgrading:
    task, opening = await bed.begin()
    await open_polling(opening)
    socket, polls = await bed.peers.get(), await bed.peers.get()
    head, _ = await polls.request()
    assert head.startswith(b"GET /socket.io/?EIO=4&transport=polling&")
    head, _ = await socket.request()
    assert head.startswith(b"GET /socket.io/?EIO=4&transport=websocket&sid=s1 ")
    socket.writer.write(UPGRADED)
    assert await socket.receive() == (TEXT, b"2probe")
    return Upgrading(task, opening, socket, polls)


async def test_an_upgrade_is_done_when_an_event_is_acknowledged_over_it(meet: Meet) -> None:
    """Once the probe is answered no GET follows; the polling connections are given up at the end."""
    async with meet(Transport.UPGRADE) as bed:
        session = await probe(bed)
        session.opening.respond(b"ok")
        session.socket.writer.write(frame(TEXT, b"3probe"))
        session.polls.respond(JOINED)
        assert await session.socket.receive() == (TEXT, b"5")
        _, question = await session.socket.receive()
        assert question.startswith(b'42/notifications,1["job:unsubscribe",')
        assert not session.task.done()
        session.socket.writer.write(
            event("notification:ready", b"{}") + frame(TEXT, b"43/notifications,1[{}]")
        )
        await session.task
        assert await session.polls.reader.read() == b""
        assert await session.opening.reader.read() == b""


async def test_an_upgrade_waits_for_the_get_and_the_post(meet: Meet) -> None:
    """As the stock client does: the transport is paused first, and what a GET brings is not lost."""
    async with meet(Transport.UPGRADE) as bed:
        session = await probe(bed)
        session.polls.respond(JOINED)
        await session.polls.request()
        session.socket.writer.write(frame(TEXT, b"3probe"))
        upgrade = asyncio.create_task(session.socket.receive())
        session.polls.respond(b"6")
        assert not upgrade.done()
        session.opening.respond(b"ok")
        assert await upgrade == (TEXT, b"5")
        session.socket.writer.write(frame(TEXT, b"43/notifications,1[{}]"))
        await session.task


async def test_connect_may_be_answered_over_the_websocket(meet: Meet) -> None:
    """When the last GET brought nothing but its release."""
    async with meet(Transport.UPGRADE) as bed:
        session = await probe(bed)
        session.opening.respond(b"ok")
        session.socket.writer.write(frame(TEXT, b"3probe"))
        session.polls.respond(b"6")
        assert await session.socket.receive() == (TEXT, b"5")
        session.socket.writer.write(frame(TEXT, b"2") + frame(TEXT, JOINED))
        assert await session.socket.receive() == (TEXT, b"3")
        await session.socket.receive()
        session.socket.writer.write(frame(TEXT, b"43/notifications,1[{}]"))
        await session.task


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", r"refused: HTTP/1\.1 404 Not Found"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "without its length"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n0{"sid":"s"}', "offers no upgrade"),
    ],
)
async def test_an_opening_that_is_none_is_an_error(meet: Meet, answer: bytes, fault: str) -> None:
    """With what the server said."""
    async with meet(Transport.UPGRADE) as bed:
        task, opening = await bed.begin()
        await opening.request()
        await opening.trickle(answer[:-1])
        opening.writer.write(answer[-1:])
        with pytest.raises(BenchmarkError, match=fault):
            await task


async def test_a_refused_connect_is_an_error(meet: Meet) -> None:
    """No figure comes from clients that are not let in."""
    async with meet(Transport.POLLING) as bed:
        task, opening = await bed.begin()
        await open_polling(opening)
        polls = await bed.peers.get()
        await polls.request()
        polls.respond(b'44/notifications,{"message":"Authentication failed"}')
        with pytest.raises(BenchmarkError, match="unexpected packet: 44/notifications"):
            await task
