"""The listening server: uvicorn, with our HTTP connection, our signals and a drain before the end."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping

import uvicorn
from starlette.types import ASGIApp

from tidings.hub.wheel import Wheel
from tidings.transports.exchange import Mount
from tidings.transports.front import factory
from tidings.transports.site import Limits

_BACKLOG = 4096
_GRACE_SECONDS = 10
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """Stops on SIGTERM or SIGINT: drains, closes, and returns, so that the process exits with 0.

    A second signal hurries.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        drain: Callable[[asyncio.Event], Awaitable[None]],
        ready: Callable[[int], None],
    ) -> None:
        super().__init__(config)
        self._drain = drain
        self._ready = ready
        self._hurry = asyncio.Event()

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # unused here
        await super().startup()
        if self.started:
            _spare_the_collector()
            self._ready(self.servers[0].sockets[0].getsockname()[1])

    async def shutdown(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]  # likewise
        await self._drain(self._hurry)
        await super().shutdown()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
            self._hurry.set()
        self.should_exit = True


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
) -> uvicorn.Config:
    """Uvicorn's configuration. The application has no lifespan: whoever builds it starts and ends it.

    ``mounts`` are asked below their paths, the application everywhere else. ``https``: that is how clients come.
    """
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=factory(limits, wheel, mounts, https=https),  # type: ignore[arg-type]  # a factory is called like the class
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
