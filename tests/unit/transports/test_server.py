"""A server on inherited sockets: which of them it serves, and how it ends."""

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
from starlette.applications import Starlette

from tests.support.server import eventually
from tidings.hub.wheel import Wheel
from tidings.transports.last_resort import LastResort
from tidings.transports.server import STOP_SECONDS, Berth, Server, by_signals, configure
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
        self.departing = 0
        self.listeners = listeners
        config = configure(
            Starlette(),
            host="127.0.0.1",
            port=0,
            limits=LIMITS,
            wheel=Wheel(time.monotonic(), resolution=0.05),
            mounts={},
        )
        berth = Berth(listeners, 0, lambda _: contextlib.nullcontext(), self._departing)
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

    def _departing(self) -> None:
        self.departing += 1

    async def _drain(self, hurry: asyncio.Event) -> None:
        self.draining.set()
        await hurry.wait()


class Resort(LastResort):
    """Ends nothing, but notes within how many seconds it should."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def within(self, seconds: float) -> None:
        self.asked.append(seconds)


@pytest.fixture
def handlers() -> Iterator[None]:
    """What is made of signals ends with the test."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


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
    assert rig.departing == 0


async def test_who_steers_it_learns_that_it_has_to_go(rig: Rig) -> None:
    """And says how: until then it serves, so that no client is refused whom another worker could take."""
    rig.server.depart()
    assert rig.departing == 1
    assert await rig.served(0)
    assert not rig.draining.is_set()
    rig.server.leave()
    await rig.draining.wait()
    assert await rig.left(0)


async def test_a_signal_that_follows_an_order(rig: Rig, handlers: None) -> None:
    """Is the first one: whoever has a node drained, and then stops it, wants nobody hurried. The second one does."""
    resort = Resort()
    async with by_signals(rig.server, resort):
        rig.server.stop()
        await rig.draining.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: resort.asked == [STOP_SECONDS])
        assert not rig.server.force_exit
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(lambda: len(resort.asked) == 2)
        assert rig.server.force_exit


async def test_an_order_ends_it_in_time(rig: Rig) -> None:
    """Contract 9: "exit 0 within 30 s", as after a signal."""
    resort = Resort()
    alone = Server(rig.server.config, rig.server._drain, lambda _: None, last_resort=resort)
    alone.depart()
    assert resort.asked == [STOP_SECONDS]
    assert STOP_SECONDS < 30
