"""Connections that are given to another worker of this machine, over real sockets (contract, section 4).

"no sticky sessions needed across the workers of one machine".
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.crew_rig import crew_directory, crewed, handled, handover_of
from tests.support.front_rig import LIMITS, Rig, chunked, get, post, request, rigged, until
from tidings.domain.crew import Crew
from tidings.transports.handover import Outcome

LARGE = 8 * 2**20
"""More than the system keeps of an answer that nobody fetches."""


@pytest.fixture
async def workers() -> AsyncIterator[list[Rig]]:
    async with crewed() as rigs:
        yield rigs


# The way it goes.


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (get("/desk/@1"), b"GET /desk/@1 "),
        (post("/desk/@1", b"some text"), b"POST /desk/@1 some text"),
        (chunked("/desk/@1", b"some", b"text"), b"POST /desk/@1 sometext"),
    ],
)
async def test_a_request_goes_to_its_worker(workers: list[Rig], asked: bytes, said: bytes) -> None:
    """Whoever reads it first, a request is answered by the worker it is for, on the same connection."""
    here, there = workers
    async with here.line() as line:
        await line.say(asked)
        assert await line.body() == said
        assert (len(here.connections), len(there.connections)) == (0, 1)
        assert (here.desk.requests, len(there.desk.requests)) == ([], 1)


async def test_the_connection_is_the_others(workers: list[Rig]) -> None:
    """What comes on it next is answered there, until it is for yet another."""
    here, there = workers
    async with here.line() as line:
        for target in ("/desk/@1", "/desk/", "/desk/@0", "/desk/", "/desk/@1"):
            await line.say(get(target))
            await line.body()
    assert [request.target for request in there.desk.requests] == [b"/desk/@1", b"/desk/", b"/desk/@1"]
    assert [request.target for request in here.desk.requests] == [b"/desk/@0", b"/desk/"]


async def test_the_address_of_the_client(workers: list[Rig]) -> None:
    """The client's address is that of the connection, not of the worker it came by."""
    here, there = workers
    async with here.line() as line:
        await line.say(get("/desk/@1"))
        await line.body()
    assert [request.client for request in there.desk.requests] == ["127.0.0.1"]


async def test_an_upgrade_goes_to_its_worker(workers: list[Rig]) -> None:
    """A WebSocket's connection goes with what the client says before it is answered."""
    here, there = workers
    async with here.line() as line:
        await line.say(get("/desk/@1", "Connection: Upgrade", "Upgrade: websocket") + b"at once")
        assert await line.reader.readexactly(16) == b"upgraded at once"
        await line.say(b"later")
        assert await line.reader.readexactly(5) == b"later"
    assert (len(here.desk.upgrades), len(there.desk.upgrades)) == (0, 1)


async def test_after_a_request_of_the_application(workers: list[Rig]) -> None:
    """A connection that served the application goes as well."""
    here, there = workers
    async with here.line() as line:
        await line.say(get("/rest") + get("/desk/@1") + get("/rest"))
        assert [await line.body() for _ in range(3)] == [b"app /rest 0", b"GET /desk/@1 ", b"app /rest 0"]
    assert (len(here.app.asked), len(there.app.asked)) == (1, 1)


async def test_pipelined_for_everybody() -> None:
    """RFC 9112, section 9.3.2: answers come in the order of the requests, whoever answers them."""
    targets = [f"/desk/{n}@{n % 3}" for n in range(30)]
    async with crewed(count=3) as rigs, rigs[0].line() as line:
        await line.say(b"".join(map(get, targets)))
        assert [await line.body() for _ in targets] == [f"GET {target} ".encode() for target in targets]
        assert [len(rig.desk.requests) for rig in rigs] == [10, 10, 10]


async def test_what_was_sent_ahead_goes_along(workers: list[Rig]) -> None:
    """All that was read goes, as much as is ever read at once."""
    here, _ = workers
    many = [get("/desk/@1"), *[post("/desk/", b"x" * 100)] * 2000]
    async with here.line() as line:
        saying = asyncio.create_task(line.say(b"".join(many)))
        assert await line.body() == b"GET /desk/@1 "
        for _ in many[1:]:
            assert await line.body() == b"POST /desk/ " + b"x" * 100
        await saying


async def test_earlier_answers_leave_first(workers: list[Rig]) -> None:
    """A connection stays until the client has fetched what it was answered before."""
    here, there = workers
    async with here.line() as line:
        await line.say(get("/desk/pend") + get("/desk/@1"))
        await until(lambda: bool(here.desk.pending))
        here.desk.pending[0].answer(200, [], b"x" * LARGE)
        await asyncio.sleep(0)
        assert len(here.connections) == 1
        assert await line.body() == b"x" * LARGE
        assert await line.body() == b"GET /desk/@1 "
        assert (len(here.connections), len(there.connections)) == (0, 1)


async def test_a_client_that_fetches_nothing_is_not_kept(workers: list[Rig]) -> None:
    """One that never fetches its answers does not move, and is ended in its time."""
    here, there = workers
    async with here.line() as line:
        await line.say(get("/desk/pend") + get("/desk/@1"))
        await until(lambda: bool(here.desk.pending))
        here.desk.pending[0].answer(200, [], b"x" * LARGE)
        await asyncio.sleep(0)
        for seconds in (11, 22, 33):
            here.pass_seconds(seconds)
        await until(lambda: not here.connections)
    assert there.desk.requests == []


async def test_a_client_that_has_said_all(workers: list[Rig]) -> None:
    """The end of what a client says comes after what it has said."""
    here, _ = workers
    async with here.line() as line:
        await line.say(get("/desk/@1"))
        line.writer.write_eof()
        assert await line.body() == b"GET /desk/@1 "
        assert await line.ended() == b""


async def test_a_body_that_is_late(workers: list[Rig]) -> None:
    """The deadline of a body is kept by the worker that waits for it."""
    here, there = workers
    async with here.line() as line:
        await line.say(post("/desk/@1", b"whole")[:-1])
        await until(lambda: bool(there.desk.requests))
        here.pass_seconds(100)
        there.pass_seconds(31)
        assert (await line.answer())[0] == 408
    assert there.desk.lost == [b"/desk/@1"]


# Nobody is there, or nobody has room.


@pytest.mark.parametrize("target", ["/desk/@1", "/desk/@7"])
async def test_a_worker_that_is_not_there(workers: list[Rig], target: str) -> None:
    """A killed worker's requests, and those for a number that nobody has, are the reader's to refuse."""
    here, there = workers
    before = handled(Outcome.GONE.value)
    await handover_of(there).close()
    async with here.line() as line:
        await line.say(get(target))
        assert await line.body() == f"GET {target} ".encode()
    assert len(here.desk.requests) == 1
    assert handled(Outcome.GONE.value) == before + 1


async def test_without_a_crew() -> None:
    """A server that is alone answers everything itself."""
    async with rigged() as rig, rig.line() as line:
        await line.say(get("/desk/@1"))
        assert await line.body() == b"GET /desk/@1 "


async def test_a_number_that_is_used_again(workers: list[Rig]) -> None:
    """A worker that is started in place of another takes over where that one did."""
    here, there = workers
    await handover_of(there).close()
    handover_of(there).listen(there.inherit)
    async with here.line() as line:
        await line.say(get("/desk/@1"))
        await line.body()
    assert len(there.desk.requests) == 1


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_worker_that_accepts_nothing(method: str) -> None:
    """While another worker has no room for more, its clients are told when to come back; none waits here."""
    with crew_directory() as directory:
        rig = Rig(LIMITS, Crew(0, 2, directory))
        with socket.socket(socket.AF_UNIX) as full:
            full.bind(str(directory / "handover.1"))
            full.listen(0)
            fillers = fill(directory / "handover.1")
            async with rig.listening(), rig.line() as line:
                await line.say(request(method, "/desk/@1"))
                status, headers, _ = await line.answer(bare=method == "HEAD")
                assert (status, headers["retry-after"], await line.ended()) == (503, "5", b"")
            await until(lambda: not rig.connections)
            for filler in fillers:
                filler.close()


def fill(path: Path) -> list[socket.socket]:
    """Connections to a Unix socket, until it takes no more."""
    made = []
    while True:
        filler = socket.socket(socket.AF_UNIX)
        made.append(filler)
        filler.setblocking(False)
        try:
            filler.connect(str(path))
        except BlockingIOError:
            return made


async def test_the_others_limit_of_connections() -> None:
    """ "connections per process": a worker that has as many as it may says so to what it is given."""
    async with crewed(replace(LIMITS, connections=1)) as (here, there), there.line() as first:
        await first.say(get("/desk/"))
        await first.body()
        async with here.line() as line:
            await line.say(get("/desk/@1"))
            status, headers, _ = await line.answer()
            assert (status, headers["retry-after"]) == (503, "5")
        await first.say(get("/desk/"))
        await first.body()
