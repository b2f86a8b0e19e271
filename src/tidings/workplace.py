"""A process that runs jobs and listens to nobody: its half of what ``app`` puts together for a node.

A page of the composition root: like ``app`` it may import everything, and only ``cli`` imports it. It serves no
user, so it holds none of what nodes share; administrators see it among them, and limits are not shared with it.
"""

import asyncio
import contextlib
import secrets
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from typing import Self

import structlog

from tidings import metrics
from tidings.cluster.registry import Registry
from tidings.cluster.vitals import Vitals
from tidings.crew.port import on_port
from tidings.delivery.enforcement import Unattended
from tidings.delivery.orders import Orders
from tidings.delivery.relay import Relay
from tidings.delivery.signals import Signals
from tidings.domain.errors import TidingsError
from tidings.domain.node import NodeRole
from tidings.settings import Settings
from tidings.sharing import redis_broker
from tidings.store.database import Database
from tidings.upkeep import kept_running
from tidings.workshop import Workshop

_MEASURE_SECONDS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_log = structlog.stdlib.get_logger("tidings")


class Workplace:
    """An async context in which jobs are run, and ``work``, which waits until it is time to go.

    The database has this version's tables, and the settings ask for a worker and a broker that is shared.
    """

    def __init__(self, settings: Settings) -> None:
        """Raises:
        ValueError: the broker's address is none.
        """
        self._settings = settings
        self._database = Database(settings.database)
        self._broker = redis_broker(settings)
        self._relay = Relay(self._database, self._broker)
        self._signals = Signals(self._broker)
        name = f"worker-{secrets.token_hex(4)}"
        self._workshop = Workshop(settings, self._database, self._relay, self._signals, name)
        self._stop = asyncio.Event()
        self._orders = Orders(self._database, self._signals, Unattended(name, self._stop.set))
        self._draining = False
        vitals = Vitals(name, 0, lambda: self._draining, NodeRole.WORKER)
        self._registry = Registry(self._broker, name, vitals)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Start everything.

        Raises:
            TidingsError: UNAVAILABLE, the database cannot be reached.
            OSError: the metrics' port cannot be had.
        """
        stack, settings = self._stack, self._settings
        async with AsyncExitStack() as starting:
            await starting.enter_async_context(self._database)
            await self._orders.start()
            await self._broker.start(self._signals.hear)
            starting.push_async_callback(self._broker.close)
            starting.push_async_callback(self._registry.leave)
            if settings.metrics_port is not None:
                starting.enter_context(
                    on_port(settings.host, settings.metrics_port, metrics.REGISTRY, settings.metrics_token)
                )
            await self._workshop.start()
            own = (self._relay.run, self._signals.listen, self._orders.run, self._registry.run, self._measure)
            for loop in (*own, *self._workshop.loops()):
                await starting.enter_async_context(kept_running(loop))
            stack.push_async_exit(starting.pop_all())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def work(self, ready: Callable[[], None]) -> None:
        """Run jobs until a signal or an order comes; then finish or hand back what runs. A second signal hurries."""
        hurry = asyncio.Event()
        with _heard(self._stop, hurry):
            ready()
            await self._stop.wait()
            self._draining = True
            seconds = self._settings.drain_seconds
            _log.info("draining", seconds=seconds)
            await self._workshop.drain(seconds, hurry)
            await self._relay.flushed()

    async def _measure(self) -> None:
        """Keep the gauges true, and publish what waited for the broker as soon as it is back."""
        healthy = True
        while True:
            await asyncio.sleep(_MEASURE_SECONDS)
            before, healthy = healthy, self._broker.healthy()
            metrics.broker_healthy.set(healthy)
            self._broker.measure()
            metrics.redis_connections.set(self._broker.connections)
            if healthy is not before:
                _log.warning("broker", healthy=healthy)
            if healthy and not before:
                self._relay.kick()
            with contextlib.suppress(TidingsError):  # the worker says so when the database does not answer
                await self._relay.measure()


@contextlib.contextmanager
def _heard(stop: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    """Signals as events: the first one, and any after it."""
    again = False

    def hear() -> None:
        nonlocal again
        (hurry if again else stop).set()
        again = True

    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, hear)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
