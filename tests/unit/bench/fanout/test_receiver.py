"""The benchmark's clients, against a server that sends what each test says, byte by byte where it matters."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from bench.fanout.receiver import STEP, Receiver, build_receiver, receiving
from bench.harness.emitter import make_payload
from bench.harness.process import BenchmarkError, two_cores
from tests.support.bench_peers import CLOSE, PING, PONG, TEXT, Peer, event, frame, listening
from tidings.domain.strictjson import dumps


def message(sequence: int = 0) -> bytes:
    return event("notification:new", dumps(make_payload(sequence)))


class Bed:
    """A receiver and its peers."""

    def __init__(self, receiver: Receiver, peers: list[Peer], acks: int) -> None:
        self.receiver = receiver
        self.peers = peers
        self.acks = acks

    def write(self, data: bytes) -> None:
        for peer in self.peers:
            peer.writer.write(data)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_receiver(tmp_path_factory.mktemp("receiver"))


@pytest.fixture
def ack_pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    os.close(reading)
    os.close(writing)


@pytest.fixture
async def bed(program: Path, ack_pipe: tuple[int, int]) -> AsyncIterator[Bed]:
    """Not connected yet."""
    peers: list[Peer] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        await peer.greet()
        await peer.trickle(frame(TEXT, b'40/notifications,{"sid":"y"}'))
        peers.append(peer)

    acks, ack_fd = ack_pipe
    async with (
        listening(accept) as port,
        receiving(program, port=port, tokens=["t1", "t2"], ack_fd=ack_fd, cpu=two_cores()[1]) as receiver,
    ):
        yield Bed(receiver, peers, acks)
        for peer in peers:
            peer.writer.close()


async def test_each_connection_upgrades_and_joins_with_a_token(bed: Bed) -> None:
    """Engine.IO 4 over WebSocket, then CONNECT to the namespace; connections take turns with the tokens."""
    seconds = await bed.receiver.connect(3)
    assert seconds > 0
    joins = sorted(peer.join for peer in bed.peers)
    assert joins == [b'40/notifications,{"token":"%s"}' % token for token in (b"t1", b"t1", b"t2")]


async def test_a_message_counts_once_it_is_whole(bed: Bed) -> None:
    """Half a frame is not counted, wherever it is cut; its other half completes it."""
    await bed.receiver.connect(1)
    await bed.receiver.begin()
    whole = message()
    for cut in (1, 3, 10, len(whole) - 1):
        bed.write(whole + whole[:cut])
        await bed.receiver.received(1)
        await bed.receiver.begin()
        bed.write(whole[cut:])
        await bed.receiver.received(1)
        await bed.receiver.begin()


async def test_every_connection_has_to_have_all_messages(bed: Bed) -> None:
    """One connection that waits for its last message holds up the answer."""
    await bed.receiver.connect(2)
    await bed.receiver.begin()
    bed.write(message(0))
    bed.peers[0].writer.write(message(1))
    answer = asyncio.create_task(bed.receiver.received(2))
    await bed.peers[1].trickle(message(1)[:-1])
    assert not answer.done()
    await bed.peers[1].trickle(message(1)[-1:])
    assert await answer > 0


async def test_a_message_too_many_is_an_error(bed: Bed) -> None:
    """A server that sends twice does not get away with it."""
    await bed.receiver.connect(1)
    await bed.receiver.begin()
    bed.write(message() * 2)
    with pytest.raises(BenchmarkError, match="more events came than were sent"):
        await received_then_begin(bed.receiver)


async def received_then_begin(receiver: Receiver) -> None:
    await receiver.received(1)
    await receiver.begin()


async def test_what_is_not_the_event_is_not_counted(bed: Bed) -> None:
    """Other events, pings of both layers and trailing arguments are taken as they come."""
    await bed.receiver.connect(1)
    await bed.receiver.begin()
    bed.write(event("notification:ready", b"{}") + frame(TEXT, b"2") + frame(PING, b"p"))
    bed.write(event("notification:new", dumps(make_payload(0)), b'"a.1.b.0"'))
    await bed.receiver.received(1)
    assert await bed.peers[0].receive() == (TEXT, b"3")
    assert await bed.peers[0].receive() == (PONG, b"p")


async def test_a_step_is_acknowledged_when_the_slowest_has_it(bed: Bed) -> None:
    """One line for each STEP messages that all connections have."""
    await bed.receiver.connect(2)
    await bed.receiver.begin()
    bed.write(message() * 2 * STEP)
    await bed.receiver.received(2 * STEP)
    assert os.read(bed.acks, 100).decode().splitlines() == [f"ack {STEP}", f"ack {2 * STEP}"]


async def test_latency_is_read_from_the_messages(bed: Bed) -> None:
    """Every second message of each connection is timed, in seconds since the time that it carries."""
    await bed.receiver.connect(2)
    await bed.receiver.begin(time_every=2)
    bed.write(message() * 10)
    await bed.receiver.received(10)
    latency = await bed.receiver.latency()
    assert latency.count == 2 * 5
    assert 0 < latency.p50 <= latency.p99 < 60


async def test_close_waits_for_the_closing_handshake(bed: Bed) -> None:
    """Each connection says 1000 and is over when the server has hung up; new ones may be opened."""
    await bed.receiver.connect(2)
    closing = asyncio.create_task(bed.receiver.close())
    for peer in bed.peers:
        assert await peer.receive() == (CLOSE, b"\x03\xe8")
        assert not closing.done()
        peer.writer.write(frame(CLOSE, b"\x03\xe8"))
        peer.writer.close()
    await closing
    await bed.receiver.connect(1)


async def test_a_lost_connection_is_an_error(bed: Bed) -> None:
    """No figure comes from a run in which somebody was dropped."""
    await bed.receiver.connect(1)
    bed.peers[0].writer.close()
    with pytest.raises(BenchmarkError, match="the server closed a connection"):
        await bed.receiver.received(1)


async def test_a_refused_upgrade_is_an_error(program: Path, ack_pipe: tuple[int, int]) -> None:
    """The status line says why."""

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        with contextlib.closing(writer):
            await writer.drain()

    async with (
        listening(refuse) as port,
        receiving(program, port=port, tokens=["t"], ack_fd=ack_pipe[1], cpu=two_cores()[1]) as receiver,
    ):
        with pytest.raises(BenchmarkError, match=r"refused: HTTP/1\.1 503"):
            await receiver.connect(1)
