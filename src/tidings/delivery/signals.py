"""Hints between processes: something was committed, look at the database again.

A signal is lost when the broker is away, and nobody may depend on one: who listens also looks by itself, more
slowly. Signals travel as events of a tenant of their own, so that they move nobody's positions.
"""

import asyncio
import secrets
from collections.abc import Callable

import structlog

from tidings.broker.base import Broker, BrokerUnavailable
from tidings.domain.channel import SIGNALS
from tidings.domain.event import Event, EventClass, Published

RETRY_SECONDS = 0.5

Call = Callable[[bytes], None]

_log = structlog.stdlib.get_logger("tidings.signals")


class Signals:
    """One a process. ``on`` before ``run``; ``hear`` is given what the broker delivers on ``SIGNALS``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._sender = secrets.token_hex(4)
        self._calls: dict[str, Call] = {}
        self._waiting: dict[tuple[str, bytes], None] = {}
        self._wanted = asyncio.Event()

    def on(self, name: str, call: Call) -> None:
        """Have a signal's data handed to ``call``, in the event loop. It must not block and must not raise."""
        self._calls[name] = call

    def send(self, name: str, data: bytes = b"") -> None:
        """Tell this process at once and the others soon. The same twice before that is told once."""
        self._tell(name, data)
        self._waiting[name, data] = None
        self._wanted.set()

    def hear(self, published: Published) -> None:
        """Take what another process has sent."""
        sender, _, name = published.event.name.partition(" ")
        if sender != self._sender:
            self._tell(name, published.event.data)

    async def run(self) -> None:
        """Listen and send until cancelled."""
        await self._listen()
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            waiting, self._waiting = self._waiting, {}
            batch = [(SIGNALS, self._event(name, data)) for name, data in waiting]
            try:
                await self._broker.publish(batch)
            except BrokerUnavailable as fault:
                _log.debug("signals lost", count=len(batch), reason=str(fault))

    async def _listen(self) -> None:
        while True:
            try:
                await self._broker.subscribe([SIGNALS])
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _event(self, name: str, data: bytes) -> Event:
        return Event(f"{self._sender} {name}", data, EventClass.PROGRESS)

    def _tell(self, name: str, data: bytes) -> None:
        call = self._calls.get(name)
        if call is not None:
            call(data)
