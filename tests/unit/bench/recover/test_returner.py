"""The clients that are cut off and come back, against a server that sends what each test says."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bench.harness.emitter import make_payload
from bench.harness.process import BenchmarkError, two_cores
from bench.recover.returner import Returned, Returner, build_returner, returning
from tests.support.bench_peers import TEXT, Peer, event, frame, listening
from tidings.domain.strictjson import dumps

WELCOME = frame(TEXT, b'40/notifications,{"sid":"s","pid":"p1"}')
STRANGER = frame(TEXT, b'40/notifications,{"sid":"s","pid":"p2"}')
JOIN = b'40/notifications,{"token":"t"}'


def numbered(*numbers: int) -> bytes:
    """Events, each with its position."""
    return b"".join(
        event("notification:new", dumps(make_payload(number)), b'"o%d"' % number) for number in numbers
    )


class Bed:
    """Clients and their peers. ``answer`` is what each CONNECT is answered with."""

    def __init__(self, returner: Returner) -> None:
        self.returner = returner
        self.peers: list[Peer] = []
        self.answer: Callable[[Peer], bytes] = lambda _: WELCOME
        self.came = asyncio.Event()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        await peer.greet()
        writer.write(self.answer(peer))
        self.peers.append(peer)
        self.came.set()

    async def drop(self) -> list[Peer]:
        """Cut all clients off; their peers. From then on new ones are counted."""
        await self.returner.cut()
        gone, self.peers = self.peers, []
        self.came.clear()
        for peer in gone:
            with pytest.raises(ConnectionResetError):
                await peer.reader.read()
        return gone

    async def come_back(self, answer: bytes, missed: int) -> Returned:
        self.answer = lambda _: answer
        return await self.returner.come_back(missed)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_returner(tmp_path_factory.mktemp("returner"))


@pytest.fixture
async def bed(program: Path) -> AsyncIterator[Bed]:
    """Not connected yet."""
    made: list[Bed] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await made[0].accept(reader, writer)

    async with (
        listening(accept) as port,
        returning(program, port=port, tokens=["t"], cpu=two_cores()[1]) as returner,
    ):
        made.append(Bed(returner))
        yield made[0]
        for peer in made[0].peers:
            peer.writer.close()


async def test_a_client_comes_back_with_what_it_had(bed: Bed) -> None:
    """Its pid, and the position that ended the last event it received."""
    bed.answer = lambda _: WELCOME + event("notification:ready", b"{}", b'"o-1"') + numbered(0)
    await bed.returner.connect(1)
    assert bed.peers[0].join == JOIN
    await bed.returner.received(1)
    await bed.drop()
    await bed.come_back(WELCOME + numbered(0), missed=1)
    assert bed.peers[0].join == b'40/notifications,{"pid":"p1","offset":"o0","token":"t"}'


async def test_an_event_without_a_position_leaves_none(bed: Bed) -> None:
    """A last argument that is no string is none; who has no position sends the pid alone."""
    bed.answer = lambda _: WELCOME + event("notification:new", dumps(make_payload(0)))
    await bed.returner.connect(1)
    await bed.returner.received(1)
    await bed.drop()
    await bed.come_back(STRANGER, missed=1)
    assert bed.peers[0].join == b'40/notifications,{"pid":"p1","token":"t"}'


@pytest.mark.parametrize(
    "answer",
    [WELCOME + numbered(0, 1, 2), numbered(0, 1, 2) + WELCOME, numbered(0) + WELCOME + numbered(1, 2)],
)
async def test_the_same_pid_and_every_event_is_recovered(bed: Bed, answer: bytes) -> None:
    """Whether what was missed comes behind the answer to CONNECT or, as socket.io sends it, before."""
    await bed.returner.connect(3)
    await bed.drop()
    back = await bed.come_back(answer, missed=3)
    assert (back.clients, back.recovered) == (3, 3)
    assert 0 < back.seconds < 60


async def test_another_pid_is_not_recovered(bed: Bed) -> None:
    """The client is a stranger, and nothing is waited for."""
    await bed.returner.connect(2)
    await bed.drop()
    back = await bed.come_back(STRANGER, missed=3)
    assert (back.clients, back.recovered) == (2, 0)


async def test_the_last_event_is_waited_for(bed: Bed) -> None:
    """Nobody is whole with one event missing."""
    await bed.returner.connect(1)
    await bed.drop()
    returning = asyncio.create_task(bed.come_back(WELCOME + numbered(0, 1), missed=3))
    await bed.came.wait()
    assert not returning.done()
    await bed.peers[0].trickle(numbered(2))
    assert (await returning).recovered == 1


@pytest.mark.parametrize(
    ("numbers", "fault"),
    [((0, 0), "event 0 came when 1 was due"), ((0, 2), "event 2 came when 1 was due")],
)
async def test_an_event_twice_or_out_of_order_is_an_error(
    bed: Bed, numbers: tuple[int, ...], fault: str
) -> None:
    """No figure comes from a recovery that is not exact."""
    await bed.returner.connect(1)
    await bed.drop()
    with pytest.raises(BenchmarkError, match=fault):
        await bed.come_back(WELCOME + numbered(*numbers), missed=3)
