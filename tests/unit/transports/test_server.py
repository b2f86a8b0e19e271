"""A server on inherited sockets: which of them it serves, and how it ends."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette

from tidings.hub.wheel import Wheel
from tidings.transports.server import Berth, Server, configure
from tidings.transports.site import Limits

LIMITS = Limits(connections=100, header_bytes=4096, body_bytes=1024, head_seconds=10, body_seconds=10)
REQUEST = b"GET / HTTP/1.1\r\nHost: tidings.test\r\nConnection: close\r\n\r\n"


class Rig:
    """Worker 0 of two, whose sockets have an address each, so that one knows which it serves.

    Its drain lasts until it is hurried.
    """

    def __init__(self, listeners: list[socket.socket]) -> None:
        self.ready = asyncio.Event()
        self.draining = asyncio.Event()
        self.listeners = listeners
        config = configure(
            Starlette(),
            host="127.0.0.1",
            port=0,
            limits=LIMITS,
            wheel=Wheel(time.monotonic(), resolution=0.05),
            mounts={},
        )
        berth = Berth(listeners, 0, lambda _: contextlib.nullcontext())
        self.server = Server(config, self._drain, lambda _: self.ready.set(), berth=berth)

    async def served(self, number: int) -> bool:
        """Whether a connection to that socket is answered."""
        reader, writer = await asyncio.open_connection(*self.listeners[number].getsockname())
        writer.write(REQUEST)
        heard = await asyncio.wait_for(reader.read(), 5)
        writer.close()
        return heard.startswith(b"HTTP/1.1 404")

    async def left(self, number: int) -> bool:
        """Whether a connection to that socket waits for whoever accepts it."""
        listener = self.listeners[number]
        _, writer = await asyncio.open_connection(*listener.getsockname())
        accepted, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(listener), 5)
        accepted.close()
        writer.close()
        return True

    async def _drain(self, hurry: asyncio.Event) -> None:
        self.draining.set()
        await hurry.wait()


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    with ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        for listener in listeners:
            listener.setblocking(False)
        made = Rig(listeners)
        serving = asyncio.create_task(made.server.serve())
        await made.ready.wait()
        yield made
        made.server.hurry()
        await asyncio.wait_for(serving, 5)


async def test_serves_the_own_socket(rig: Rig) -> None:
    """And leaves the others to the others."""
    assert await rig.served(0)
    assert await rig.left(1)


async def test_serves_another_as_long_as_it_is_told(rig: Rig) -> None:
    """Told twice, it does so once; and told again later, again."""
    for _ in range(2):
        await rig.server.listen(1)
        await rig.server.listen(1)
        assert await rig.served(1)
        rig.server.rest(1)
        rig.server.rest(1)
        assert await rig.left(1)
        assert await rig.served(0)


async def test_leaves_new_clients_to_others(rig: Rig) -> None:
    """At once, before the drain; what comes too late is no order any more."""
    await rig.server.listen(1)
    rig.server.leave()
    await rig.server.listen(1)
    await rig.draining.wait()
    assert await rig.left(0)
    assert await rig.left(1)


async def test_a_stop_goes_on_answering(rig: Rig) -> None:
    """Contract 11: "while draining, new requests get 503": they are still accepted, for there is nobody else."""
    rig.server.stop()
    await rig.draining.wait()
    assert await rig.served(0)
