"""Many users of one node, each with one connection, who note what they are told. No rate is measured of them.

Every other one comes with a Socket.IO socket, the others with a stream of ``/notifications/events``.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any

from websockets.asyncio.client import connect

from bench.harness.process import BenchmarkError
from bench.nodes.people import END

_AT_ONCE = 32
_SECONDS = 120.0
_PING, _PONG, _EVENT = "2", "3", "42/notifications,"


class Client:
    """One user's connection. ``ids`` are those of the notifications it was told of, each time one came."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.ready = asyncio.Event()
        self.ended = asyncio.Event()

    def hear(self, notification: dict[str, Any]) -> None:
        if notification["title"] == END:
            self.ended.set()
        else:
            self.ids.append(notification["id"])

    async def by_socket(self, port: int, token: str) -> None:
        """Stay connected until cancelled or cut off."""
        url = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        async with connect(url, compression=None, proxy=None, ping_interval=None, close_timeout=1) as wire:
            await wire.send(f"40/notifications,{json.dumps({'token': token})}")
            async for packet in wire:
                if packet == _PING:
                    await wire.send(_PONG)
                elif isinstance(packet, str) and packet.startswith(_EVENT):
                    name, data, *_ = json.loads(packet.removeprefix(_EVENT))
                    if name == "notification:ready":
                        self.ready.set()
                    elif name == "notification:new":
                        self.hear(data["notification"])

    async def by_stream(self, port: int, token: str) -> None:
        """Stay connected until cancelled or cut off."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = ("GET /notifications/events HTTP/1.1", "Host: bench", f"Authorization: Bearer {token}", "", "")
        with contextlib.closing(writer):
            writer.write("\r\n".join(head).encode())
            async for line in reader:
                if line.startswith(b"data: "):
                    data = json.loads(line.removeprefix(b"data: "))
                    if data["type"] == "ready":
                        self.ready.set()
                    elif data["type"] == "new":
                        self.hear(data["notification"])


class Crowd:
    """Clients, and the tasks that keep them connected."""

    def __init__(self) -> None:
        self.clients: list[Client] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, port: int, tokens: Sequence[str]) -> None:
        """Connect one client for each token to the server on a port of 127.0.0.1.

        Raises:
            BenchmarkError: one was not let in.
        """
        for first in range(0, len(tokens), _AT_ONCE):
            few = tokens[first : first + _AT_ONCE]
            new = [self._begin(index, port, token) for index, token in enumerate(few)]
            await self._all((client.ready for client in new), "let in")

    async def told(self) -> list[list[str]]:
        """What each was told of, client by client, once all have heard that this was all.

        Raises:
            BenchmarkError: one was cut off, or has not heard it within two minutes.
        """
        await self._all((client.ended for client in self.clients), "told to the end")
        return [client.ids for client in self.clients]

    async def go(self) -> None:
        """Close every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, index: int, port: int, token: str) -> Client:
        client = Client()
        stay = client.by_stream if index % 2 else client.by_socket
        self.clients.append(client)
        self._tasks.append(asyncio.create_task(stay(port, token)))
        return client

    async def _all(self, events: Iterable[asyncio.Event], what: str) -> None:
        happened: asyncio.Future[Any] = asyncio.gather(*(event.wait() for event in events))
        waiting = [happened, *self._tasks]
        await asyncio.wait(waiting, timeout=_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if not happened.done():
            happened.cancel()
            raise BenchmarkError(f"not every client was {what}")


@contextlib.asynccontextmanager
async def crowd(port: int, tokens: Sequence[str]) -> AsyncIterator[Crowd]:
    """One client for each token, connected to the server on a port of 127.0.0.1 until the block ends.

    Raises:
        BenchmarkError: one was not let in.
    """
    made = Crowd()
    try:
        await made.come(port, tokens)
        yield made
    finally:
        await made.go()
