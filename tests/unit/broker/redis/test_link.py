"""One connection, shared by everyone."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import cast

import pytest

from tests.support.redis import RedisServer, serving
from tidings.broker.redis.address import Address, Login
from tidings.broker.redis.link import Link, LinkLost, Refused, connect, greet

PATIENCE = 0.3


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with serving(options=("--requirepass", "secret")) as server:
        yield server


class Heard:
    """What a connection said unasked, and why it ended."""

    def __init__(self) -> None:
        self.pushes: list[Sequence[bytes]] = []
        self.ends: list[str] = []


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def link(redis: RedisServer, heard: Heard) -> AsyncIterator[Link]:
    made = await connect(
        Address("127.0.0.1", redis.port), None, heard.pushes.append, heard.ends.append, PATIENCE
    )
    await greet(made, Login(password="secret"), "test")
    yield made
    await made.close()


class Impostor(asyncio.Protocol):
    """Something that is not quite Redis: it says this to whoever asks."""

    def __init__(self, text: bytes) -> None:
        self.text = text
        self.transport = asyncio.Transport()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.text)


@asynccontextmanager
async def saying(text: bytes) -> AsyncIterator[Address]:
    server = await asyncio.get_running_loop().create_server(lambda: Impostor(text), "127.0.0.1", 0)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()
        await server.wait_closed()


async def test_answers_in_order(link: Link) -> None:
    """Many commands at once, each gets its own answer."""
    answers = await asyncio.gather(*(link.call("ECHO", str(number)) for number in range(1000)))
    assert answers == [str(number).encode() for number in range(1000)]


async def test_cancelled_commands_leave_nothing_behind(link: Link) -> None:
    """Cancelled commands never leave an unread reply behind: the next asker gets the own answer."""
    calls = [link.call("ECHO", str(number)) for number in range(100)]
    for call in calls[::2]:
        call.cancel()
    kept = await asyncio.gather(*calls[1::2])
    assert kept == [str(number).encode() for number in range(1, 100, 2)]
    assert await link.call("ECHO", "next") == b"next"


async def test_errors(link: Link) -> None:
    """An error is the asker's alone."""
    wrong, right = link.call("NONSENSE"), link.call("ECHO", "x")
    with pytest.raises(Refused, match="unknown command") as raised:
        await wrong
    assert raised.value.code == "ERR"
    assert await right == b"x"


async def test_pushes(link: Link, heard: Heard) -> None:
    """What is published comes between the answers, in order."""
    link.send("SUBSCRIBE", "channel")
    await link.call("PING")
    await link.call("PUBLISH", "channel", "x")
    assert heard.pushes == [[b"subscribe", b"channel", 1], [b"message", b"channel", b"x"]]


async def test_overdue(link: Link, heard: Heard) -> None:
    """Nobody waits for ever: an overdue answer ends the connection for all who wait on it."""
    begun = time.monotonic()
    calls = [link.call("BLPOP", "nothing", 0), link.call("PING")]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [LinkLost, LinkLost]
    assert PATIENCE / 2 < time.monotonic() - begun < 3 * PATIENCE
    assert heard.ends == [f"no answer within {PATIENCE} s"]
    with pytest.raises(LinkLost):
        await link.call("PING")


async def test_a_pause_of_this_process(link: Link) -> None:
    """An answer that was there, but unread because this process stood still, is not overdue."""
    call = link.call("PING")
    await asyncio.sleep(0)
    time.sleep(2 * PATIENCE)  # noqa: ASYNC251  the standstill itself
    assert await call == b"PONG"


async def test_closed_by_the_server(redis: RedisServer, link: Link, heard: Heard) -> None:
    """A connection that the server ends is over for all at once."""
    call = link.call("BLPOP", "nothing", 0)
    redis_closes = link.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "no")
    await asyncio.gather(redis_closes, return_exceptions=True)
    with pytest.raises(LinkLost):
        await call
    assert len(heard.ends) == 1


async def test_not_redis(heard: Heard) -> None:
    """Bytes that are not Redis's end the connection."""
    async with saying(b"HTTP/1.1 400 Bad Request\r\n\r\n") as address:
        link = await connect(address, None, heard.pushes.append, heard.ends.append, PATIENCE)
        with pytest.raises(LinkLost, match="not Redis"):
            await link.call("PING")
        await link.close()


async def test_unasked_answer(heard: Heard) -> None:
    """An answer too many would be given to the wrong asker: the connection ends."""
    async with saying(b"+OK\r\n+OK\r\n") as address:
        link = await connect(address, None, heard.pushes.append, heard.ends.append, PATIENCE)
        assert await link.call("PING") == b"OK"
        with pytest.raises(LinkLost, match="nobody asked for"):
            await link.call("PING")
        await link.close()


async def test_wrong_password(redis: RedisServer, heard: Heard) -> None:
    """A wrong login is refused, and the password is in no message."""
    link = await connect(
        Address("127.0.0.1", redis.port), None, heard.pushes.append, heard.ends.append, PATIENCE
    )
    with pytest.raises(Refused) as raised:
        await greet(link, Login(password="hunter2"), "test")
    assert raised.value.code == "WRONGPASS"
    assert "hunter2" not in str(raised.value)
    await link.close()


async def test_nobody_there(heard: Heard) -> None:
    """Where nothing listens, that is said."""
    with pytest.raises(LinkLost, match="cannot be reached"):
        await connect(Address("127.0.0.1", 1), None, heard.pushes.append, heard.ends.append, PATIENCE)
