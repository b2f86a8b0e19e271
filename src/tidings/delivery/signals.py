"""Hints between processes: something was committed, look at the database again.

A signal is lost when the broker is away, and nobody may depend on one: who listens also looks by itself, more
slowly. So signals are whispered, which costs next to nothing and moves no client's position. Each name has its
channel: a process hears what it listens for.
"""

import asyncio
import secrets
from collections.abc import Callable

from tidings.broker.base import Broker, BrokerUnavailable
from tidings.domain.channel import signal_channel
from tidings.domain.event import Event, EventClass, Published

RETRY_SECONDS = 0.5

Call = Callable[[bytes], None]


class Signals:
    """One a process. ``on`` before ``listen``; ``hear`` is given what the broker delivers of ``SIGNALS``."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._sender = secrets.token_hex(4)
        self._calls: dict[str, Call] = {}
        self._sent: set[tuple[str, bytes]] = set()  # in this turn of the event loop

    def on(self, name: str, call: Call) -> None:
        """Have a signal's data handed to ``call``, in the event loop. It must not block and must not raise."""
        self._calls[name] = call

    def send(self, name: str, data: bytes = b"") -> None:
        """Tell this process and the others at once. The same twice in a turn of the event loop is told once."""
        if not self._sent:
            asyncio.get_running_loop().call_soon(self._sent.clear)
        if (name, data) in self._sent:
            return
        self._sent.add((name, data))
        self._broker.whisper(signal_channel(name), Event(self._sender, data, EventClass.PROGRESS))
        self._tell(name, data)

    def hear(self, published: Published) -> None:
        """Take what another process has sent."""
        if published.event.name != self._sender:
            self._tell(published.channel.name, published.event.data)

    async def listen(self) -> None:
        """Have signals heard from now on; while the broker is away, as soon as it is there."""
        while True:
            try:
                await self._broker.subscribe([signal_channel(name) for name in self._calls])
            except BrokerUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    def _tell(self, name: str, data: bytes) -> None:
        call = self._calls.get(name)
        if call is not None:
            call(data)
