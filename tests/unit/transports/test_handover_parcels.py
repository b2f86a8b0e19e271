"""What workers send each other with a connection, and whatever else comes to where they listen for it."""

import asyncio
import os
import resource
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from tests.support.crew_rig import crew_directory, crewed, descriptors, handled, handover_of
from tests.support.front_rig import LIMITS, Rig, get, until
from tidings.domain.crew import Crew
from tidings.transports import handover
from tidings.transports.handover import Handover, Outcome, Receive


@pytest.fixture
async def workers() -> AsyncIterator[list[Rig]]:
    async with crewed(replace(LIMITS, connections=200)) as rigs:
        yield rigs


async def test_descriptors_return(workers: list[Rig]) -> None:
    """ "file descriptors return to where they were": each connection has one, wherever it is."""
    here, there = workers
    before = descriptors()
    for _ in range(20):
        async with here.line() as line:
            await line.say(get("/desk/@1") + get("/desk/@0") + get("/desk/@1"))
            for _ in range(3):
                await line.body()
            assert descriptors() == before + 2
        await until(lambda: not there.connections)
    await until(lambda: descriptors() == before)


async def test_no_child_inherits_a_client(workers: list[Rig]) -> None:
    """A child process of a worker must not keep a client's connection open."""
    here, there = workers
    async with here.line() as line:
        await line.say(get("/desk/unread@1"))
        await until(lambda: bool(there.connections))
        (front,) = there.connections
        assert not os.get_inheritable(front._transport.get_extra_info("socket").fileno())


@pytest.mark.parametrize(
    ("content", "handed"),
    [
        (b"", 0),
        (b"", 1),
        (b"\0\0", 1),
        (struct.pack(">I", 4) + b"GET", 1),
        (struct.pack(">I", 3) + b"GET ", 1),
        (struct.pack(">I", 4) + b"GET ", 0),
        (struct.pack(">I", 4) + b"GET ", 2),
    ],
)
async def test_void_parcels(workers: list[Rig], content: bytes, handed: int) -> None:
    """What is not a whole request with one descriptor is dropped, descriptors and all."""
    _, there = workers
    before, void = descriptors(), handled("void")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(there_path(there)))
            if content:
                socket.send_fds(wire, [content], [theirs.fileno()] * handed)
        await until(lambda: handled("void") == void + 1)
    assert (descriptors(), there.connections) == (before, [])


async def test_a_parcel_that_is_amidst(workers: list[Rig]) -> None:
    """One whose sender stops amidst it keeps nobody from closing."""
    _, there = workers
    ours, theirs = socket.socketpair()
    before = descriptors()
    with socket.socket(socket.AF_UNIX) as wire:
        wire.connect(str(there_path(there)))
        socket.send_fds(wire, [b"\0\0"], [theirs.fileno()])
        await until(lambda: descriptors() == before + 3)
        await handover_of(there).close()
    ours.close()
    theirs.close()
    assert descriptors() == before - 3


async def test_what_was_sent_before_the_end(workers: list[Rig]) -> None:
    """A worker that ends takes over what has been sent to it, so that its clients are answered and not cut off."""
    here, there = workers
    before = handled("taken")
    async with AsyncExitStack() as stack:
        lines = [await stack.enter_async_context(here.line()) for _ in range(100)]
        await until(lambda: len(here.connections) == 100)
        for front in here.connections:
            sent = handover_of(here).send(1, front._transport, get("/desk/@1"))
            assert sent is Outcome.MOVED
            front._transport.abort()
        await handover_of(there).close()
        assert handled("taken") == before + 100
        for line in lines:
            assert await line.body() == b"GET /desk/@1 "


async def test_out_of_descriptors(workers: list[Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that cannot open more goes on taking connections over when it can again."""
    monkeypatch.setattr(handover, "_PAUSE_SECONDS", 0.01)
    here, there = workers
    with socket.create_connection(("127.0.0.1", here._port)) as client:
        await until(lambda: bool(here.connections))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        (front,) = here.connections
        assert handover_of(here).send(1, front._transport, get("/desk/@1")) is Outcome.MOVED
        front._transport.abort()
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert there.desk.requests == []
        await until(lambda: bool(there.desk.requests))
        assert client.recv(15) == b"HTTP/1.1 200 OK"


def there_path(rig: Rig) -> Path:
    return handover_of(rig)._crew.handover(1)


@asynccontextmanager
async def taking(receive: Receive) -> AsyncIterator[Handover]:
    """A crew of one that gives itself what it is told to."""
    with crew_directory() as directory:
        alone = Handover(Crew(0, 1, directory))
        alone.listen(receive)
        yield alone
        await alone.close()


class Given:
    """A transport with nothing but a descriptor."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client

    def get_extra_info(self, name: str) -> socket.socket:
        return self.client


async def test_what_is_no_connection() -> None:
    """A descriptor of something else is dropped."""
    before, void = descriptors(), handled("void")
    read, write = os.pipe()
    async with taking(lambda _data: asyncio.Protocol()) as alone:
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(alone._crew.handover(0)))
            socket.send_fds(wire, [struct.pack(">I", 0)], [read])
        await until(lambda: handled("void") == void + 1)
    os.close(read)
    os.close(write)
    assert descriptors() == before


@pytest.mark.parametrize(
    ("size", "outcome"), [(300 * 1024, Outcome.MOVED), (16 * 2**20, Outcome.BUSY)], ids=["usual", "monstrous"]
)
async def test_large_parcels(size: int, outcome: Outcome) -> None:
    """As much as a connection ever reads at once goes in one piece; what does not leaves the client here."""
    received: list[bytes] = []
    void = handled("void")

    def receive(data: bytes) -> asyncio.Protocol:
        received.append(data)
        return asyncio.Protocol()

    ours, theirs = socket.socketpair()
    data = os.urandom(size)
    async with taking(receive) as alone:
        with theirs:
            assert alone.send(0, cast("asyncio.BaseTransport", Given(theirs)), data) is outcome
            await until(lambda: bool(received) or handled("void") > void)
            if outcome is Outcome.BUSY:
                theirs.send(b"still here")
                assert ours.recv(10) == b"still here"
    assert received == ([data] if outcome is Outcome.MOVED else [])
    ours.close()
