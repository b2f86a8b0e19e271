"""The listening server: uvicorn, with our HTTP connection, a drain before the end, and sockets that may be inherited.

When it has to stop is for others to say: signals where a process serves alone, otherwise its supervisor.
"""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from tidings.hub.wheel import Wheel
from tidings.transports.exchange import Mount
from tidings.transports.front import Front, factory
from tidings.transports.handover import Handover
from tidings.transports.last_resort import LastResort
from tidings.transports.site import Limits

_BACKLOG = 4096
_GRACE_SECONDS = 10
STOP_SECONDS = 28.0
"""A process that was told to stop is gone after 30 s (contract, section 9)."""
_HURRY_SECONDS = 3.0
"""And after that when it was hurried, or has nothing left to do but to let go of what it is built on."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_PATIENCE_SECONDS = 25
"""The longest that anybody is waited for; then the rest is hurried."""
_CLOSING_SECONDS = 0.5
"""In a hurry, for connections to take what was said to them last."""


Steering = Callable[["Server"], AbstractAsyncContextManager[None]]
"""Tells a server for the time of the block when it has to stop."""


@dataclass(frozen=True, slots=True)
class Berth:
    """What a worker among others is given: the listening sockets of all, of which ``number`` is its own, who
    tells it when to stop, and how to tell them that it should be.
    """

    listeners: Sequence[socket.socket]
    number: int
    steering: Steering
    departing: Callable[[], None]


class Server(uvicorn.Server):
    """Serves until it is stopped: then drains, closes, and returns, so that the process exits with 0."""

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[asyncio.Event], Awaitable[None]],
        ready: Callable[[int], None],
        handover: Handover | None = None,
        berth: Berth | None = None,
        last_resort: LastResort | None = None,
    ) -> None:
        super().__init__(config)
        self._last_resort = last_resort
        self._handover = handover
        self._berth = berth
        self._listening: dict[int, asyncio.Server] = {}
        self.servers = []
        self._drain = drain
        self._ready = ready
        self._hurry = asyncio.Event()

    def stop(self) -> None:
        """Drain and end; until it ends, new clients are told so."""
        self.should_exit = True

    def depart(self) -> None:
        """Do what a signal would, by somebody else's order. Among others it is for whoever steers it to say how."""
        if self._berth is not None:
            self._berth.departing()
            return
        self.stop()
        if self._last_resort is not None:
            self._last_resort.within(STOP_SECONDS)

    def leave(self) -> None:
        """Leave new clients to other workers at once, drain and end."""
        for number in tuple(self._listening):
            self.rest(number)
        self.stop()

    def hurry(self) -> None:
        """Stop, and do not wait for anybody."""
        self.force_exit = True
        self._hurry.set()
        self.stop()

    async def listen(self, number: int) -> None:
        """Serve that worker's socket too; nothing new if it is served already, or no more."""
        if self._berth is None or number in self._listening or self.should_exit:
            return
        # A server closes its socket with itself, and this one may be served again.
        sock = self._berth.listeners[number].dup()
        loop = asyncio.get_running_loop()
        self._listening[number] = await loop.create_server(self._front, sock=sock, backlog=_BACKLOG)
        self.servers = list(self._listening.values())

    def rest(self, number: int) -> None:
        """Leave that socket to other workers."""
        if (server := self._listening.pop(number, None)) is not None:
            server.close()
            self.servers = list(self._listening.values())

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # unused here
        if self._handover is not None:
            self._handover.listen(self._inherit)
        if self._berth is None:
            await super().startup()
        else:
            await self.listen(self._berth.number)
            self.started = True
        if self.started and self.servers:
            _spare_the_collector()
            self._ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # likewise
        asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self.hurry)
        await self._drain(self._hurry)
        if self._handover is not None:
            await self._handover.close()
        closing = asyncio.create_task(super().shutdown())
        hurried = asyncio.create_task(self._hurry.wait())
        await asyncio.wait([closing, hurried], return_when=asyncio.FIRST_COMPLETED)
        # Uvicorn waits for every connection to close, in a hurry too; what is left then ends with the process.
        await asyncio.wait([closing], timeout=_CLOSING_SECONDS)
        closing.cancel()
        hurried.cancel()

    async def serve(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # likewise
        signals = by_signals(self, self._last_resort)
        async with signals if self._berth is None else self._berth.steering(self):
            await super().serve()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals mean what the steering makes of them."""
        yield

    def _inherit(self, data: bytes) -> asyncio.Protocol:
        """A connection that comes from another worker, with what was read of it there."""
        front = self._front()
        front.inherit(data)
        return front

    def _front(self) -> Front:
        make: Callable[..., Front] = self.config.http_protocol_class  # type: ignore[assignment]  # our factory
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


@contextlib.asynccontextmanager
async def by_signals(server: Server, last_resort: LastResort | None) -> AsyncIterator[None]:
    """SIGTERM or SIGINT stops it, and a second one hurries; the first one after another reason to stop does not.

    With a last resort the process is the server's alone: it ends in time even if that does not help.
    """

    def end_within(seconds: float) -> None:
        if last_resort is not None:
            last_resort.within(seconds)

    again = False

    def heard() -> None:
        nonlocal again
        if again:
            server.hurry()
            end_within(_HURRY_SECONDS)
        else:
            again = True
            server.stop()
            end_within(STOP_SECONDS)

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, heard)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            if last_resort is not None and server.should_exit:
                # One that comes now must not turn the exit code into that of a crash.
                signal.signal(number, signal.SIG_IGN)
        if server.should_exit:
            end_within(_HURRY_SECONDS)


def _spare_the_collector() -> None:
    """What is there at the start lives to the end, and connections free themselves without the collector.

    With CPython's defaults, going through ten thousand connections again and again took a third of the time of a
    handshake. Cycles are still found, more rarely.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


def configure(
    app: ASGIApp,
    *,
    host: str,
    port: int,
    limits: Limits,
    wheel: Wheel,
    mounts: Mapping[bytes, Mount],
    https: bool = False,
    handover: Handover | None = None,
) -> uvicorn.Config:
    """Uvicorn's configuration. The application has no lifespan: whoever builds it starts and ends it.

    ``mounts`` are asked below their paths, the application everywhere else. ``https``: that is how clients come.
    ``handover`` is where requests for other workers of this machine go.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=factory(limits, wheel, mounts, https=https, handover=handover),  # type: ignore[arg-type]  # a factory is called like the class
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=int(limits.head_seconds) or 1,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
