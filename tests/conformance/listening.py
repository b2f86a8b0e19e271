"""What the conformance servers stand on: the product's own HTTP and WebSocket code, with applications that echo.

No behaviour is added or changed here. Only the clock ticks more often than in production, because the suites'
times are a hundredth of production's and are measured to a few milliseconds.
"""

import argparse
import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import uvloop
from starlette.applications import Starlette

from tidings import log
from tidings.domain.crew import Crew
from tidings.hub.wheel import Wheel
from tidings.transports.background import Background
from tidings.transports.exchange import Mount
from tidings.transports.handover import Handover
from tidings.transports.server import Server, configure
from tidings.transports.site import Limits

_TICK_SECONDS = 0.001
_AHEAD_SECONDS = 0.005

Spawn = Callable[[Coroutine[Any, Any, None]], None]
Build = Callable[[Wheel, Spawn, Crew | None], Mapping[bytes, Mount]]
"""Makes what is served below each path."""


def listen(what: str, build: Build) -> None:
    """Serve where the command line says until a signal comes. Says where, and nothing else but errors."""
    parser = argparse.ArgumentParser(description=what, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=3000, help="0 for any that is free")
    parser.add_argument("--crew", type=Path, help="directory of two workers of which this is one")
    parser.add_argument("--number", type=int, default=0, help="which one")
    given = parser.parse_args()
    log.configure(level="ERROR")
    crew = None if given.crew is None else Crew(given.number, 2, given.crew)
    uvloop.run(_serve(given.host, given.port, build, crew))


async def _serve(host: str, port: int, build: Build, crew: Crew | None) -> None:
    wheel = Wheel(time.monotonic(), resolution=_TICK_SECONDS)
    background = Background()
    limits = Limits(
        connections=10_000, header_bytes=16 * 1024, body_bytes=1024, head_seconds=10, body_seconds=30
    )
    mounts = build(wheel, background.spawn, crew)
    handover = None if crew is None else Handover(crew)
    config = configure(
        Starlette(), host=host, port=port, limits=limits, wheel=wheel, mounts=mounts, handover=handover
    )
    ticking = asyncio.create_task(_tick(wheel))
    try:
        await Server(config, _nothing_to_drain, partial(_announce, host), handover).serve()
    finally:
        ticking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await ticking
        await background.close()


async def _tick(wheel: Wheel) -> None:
    while True:
        # Deadlines are rounded up to ticks, and the suites ask at the very moment whether they were kept.
        wheel.advance(time.monotonic() + _AHEAD_SECONDS)
        await asyncio.sleep(_TICK_SECONDS)


def _announce(host: str, port: int) -> None:
    print(f"listening on {host}:{port}", flush=True)  # noqa: T201  whoever started it has to know


async def _nothing_to_drain(_hurry: asyncio.Event) -> None:
    """Nobody's work is under way."""
