"""Contract, section 4: "no sticky sessions needed across the workers of one machine".

Two workers of the echo server of ``tests/conformance``, each with a port of its own, so that a test chooses whom
a request reaches: the wrong one, every time.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.conformance import talking
from tests.support.crew_rig import crew_directory
from tests.support.engineio import Packet, Polling, bare_socket, joining, polling, probing
from tests.support.http_wire import HttpConnection, http_connection
from tests.support.processes import Child
from tests.support.server import eventually

BARE = "/engine.io/"
REVISIONS = pytest.mark.parametrize("revision", [3, 4])
"""Of Engine.IO."""
PACKETS: list[Packet] = ["4hello", b"\x01\x02\x03\x04", "4über 🦔", bytes(range(256)), "4" + "x" * 200_000]


@dataclass(frozen=True)
class Worker:
    port: int
    child: Child

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.child.pid}/fd").iterdir())


@dataclass(frozen=True)
class Crew:
    """Sessions begin ``here`` and go on ``there``."""

    directory: Path
    here: Worker
    there: Worker


@contextmanager
def worker(directory: Path, number: int) -> Iterator[Worker]:
    with talking("echo_server.py", "--crew", directory, "--number", str(number)) as (port, child):
        yield Worker(port, child)


@contextmanager
def started() -> Iterator[Crew]:
    with crew_directory() as directory, worker(directory, 0) as here, worker(directory, 1) as there:
        yield Crew(directory, here, there)


@pytest.fixture(scope="module")
def crew() -> Iterator[Crew]:
    with started() as running:
        yield running


class Fresh(HttpConnection):
    """A new TCP connection for each request: the last one may have gone to where its session is."""

    async def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        await self.close()
        await super().ask(method, target, body, headers or {})


@asynccontextmanager
async def astray(crew: Crew, revision: int = 4) -> AsyncIterator[Polling]:
    """A session of which each request reaches the wrong worker."""
    async with polling(crew.here.port, BARE, revision) as session:
        await session.close()
        session.port = crew.there.port
        session.down, session.up = Fresh(session.port), Fresh(session.port)
        yield session


def query(sid: str, transport: str) -> str:
    return f"EIO=4&transport={transport}&sid={sid}"


async def refused(port: int, sid: str) -> None:
    """A session that nobody has: a clean 400 to a poll, a post and an upgrade."""
    target = f"{BARE}?{query(sid, 'polling')}"
    async with http_connection(port) as http:
        for asked in (http.exchange("GET", target), http.exchange("POST", target, b"4hello")):
            answer = await asked
            assert answer.status == 400
            assert answer.headers["content-type"] == "application/problem+json"
            assert '"code":"MALFORMED"' in answer.text
    with pytest.raises(InvalidStatus) as refusal:
        async with bare_socket(port, BARE, query(sid, "websocket")):
            pass
    assert refusal.value.response.status_code == 400


@REVISIONS
async def test_each_request_at_the_wrong_worker(crew: Crew, revision: int) -> None:
    """Polls and posts, texts and binary, small and large: the session does not notice."""
    async with astray(crew, revision) as session:
        for _ in range(3):
            await session.say(*PACKETS)
            assert [await session.hear() for _ in PACKETS] == PACKETS


async def test_a_poll_that_waits(crew: Crew) -> None:
    """A poll may wait for what comes in by the other worker."""
    async with astray(crew) as session:
        await session.ask()
        await session.say("4one")
        assert await session.packets() == ["4one"]


@REVISIONS
async def test_upgrade_at_the_wrong_worker(crew: Crew, revision: int) -> None:
    """ "an upgrade that reaches a worker that does not own the session": probed, and gone over to."""
    async with astray(crew, revision) as session:
        await session.ask()
        async with probing(session) as socket:
            assert await session.packets() == ["6"]
            await socket.say("5")
            await socket.say(*PACKETS)
            assert [await socket.hear() for _ in PACKETS] == PACKETS


async def test_what_was_said_before_the_upgrade(crew: Crew) -> None:
    """What waited for a poll comes over the WebSocket, whole, in order, and before what follows."""
    async with astray(crew) as session:
        await session.say(*PACKETS)
        async with joining(session) as socket:
            await socket.say("2probe", "5", "4then")
            assert await socket.hear() == "3probe"
            assert [await socket.hear() for _ in PACKETS] == PACKETS
            assert await socket.hear() == "4then"


async def test_a_post_in_chunks(crew: Crew) -> None:
    """A body of unknown length, slowly, with the next request behind it."""
    async with astray(crew) as session:
        reader, writer = await asyncio.open_connection("127.0.0.1", crew.there.port)
        said = (
            f"POST {session.target} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            "6\r\n4hello\r\n2\r\n!!\r\n0\r\n\r\n"
            f"GET {session.target} HTTP/1.1\r\nHost: x\r\n\r\n"
        ).encode()
        for at in range(len(said)):
            writer.write(said[at : at + 1])
            await asyncio.sleep(0)
        heard = b""
        async with asyncio.timeout(5):
            while b"4hello!!" not in heard:
                heard += await reader.read(2**16)
        assert heard.count(b"HTTP/1.1 200 OK") == 2
        writer.close()


async def test_connections_that_everybody_uses(crew: Crew) -> None:
    """A proxy sends requests of many sessions over one connection, which goes from worker to worker."""
    async with (
        polling(crew.here.port, BARE) as one,
        polling(crew.there.port, BARE) as other,
        http_connection(crew.here.port) as shared,
    ):
        for number in range(10):
            for session in (one, other):
                said = f"4{number} to {session.port}"
                assert (await shared.exchange("POST", session.target, said.encode())).text == "ok"
                assert (await shared.exchange("GET", session.target)).text == said


async def test_many_at_once(crew: Crew) -> None:
    """A hundred sessions at the wrong worker at the same moment."""

    async def talk() -> None:
        async with astray(crew) as session:
            for number in range(5):
                await session.say(f"4{number}")
                assert await session.hear() == f"4{number}"

    await asyncio.gather(*[talk() for _ in range(100)])


async def test_descriptors_return(crew: Crew) -> None:
    """ "file descriptors return to where they were": on both workers."""
    before = crew.here.descriptors(), crew.there.descriptors()
    for _ in range(10):
        async with astray(crew) as session:
            await session.say("4one")
            assert await session.hear() == "4one"
            async with probing(session) as socket:
                await socket.say("5", "4two")
                assert await socket.hear() == "4two"
    await eventually(lambda: (crew.here.descriptors(), crew.there.descriptors()) == before)


@pytest.mark.parametrize("number", [0, 1, 2, 63, 10**30])
async def test_forged_numbers(crew: Crew, number: int) -> None:
    """ "a wrong or stale sid gets a clean 400", whatever worker it names, wherever it is said."""
    for port in (crew.here.port, crew.there.port):
        await refused(port, f"{number}.{'x' * 20}")


async def test_a_stolen_number(crew: Crew) -> None:
    """A session is its own worker's: under another number it is not known."""
    async with polling(crew.here.port, BARE) as session:
        _, _, secret = session.handshake["sid"].partition(".")
        for sid in (secret, f"1.{secret}", f"00.{secret}"):
            await refused(crew.there.port, sid)
        await session.say("4still here")
        assert await session.hear() == "4still here"


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
async def test_the_owner_is_gone(end: signal.Signals) -> None:
    """ "a stale sid gets a clean 400": of a worker that was killed or has stopped, and of the one after it."""
    with started() as crew:
        async with astray(crew) as session:
            sid = session.handshake["sid"]
            await session.say("4one")
            crew.here.child.send(end)
            await asyncio.to_thread(crew.here.child.wait)
            await refused(crew.there.port, sid)
            with worker(crew.directory, 0):
                await refused(crew.there.port, sid)
