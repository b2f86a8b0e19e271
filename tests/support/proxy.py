"""A TCP proxy between a client and a server, which can slow or stall what flows, cut it, and let nothing through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_CHUNK = 64 * 1024


class Pipe:
    """One connection through the proxy. What the server says flows while ``flows`` is set."""

    def __init__(self, proxy: "Proxy", client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.flows = asyncio.Event()
        self.flows.set()
        self._proxy = proxy
        self._client = client
        self._server = server

    def cut(self) -> None:
        """End both ends at once, as a reset does."""
        for writer in (self._client, self._server):
            writer.transport.abort()

    async def up(self, client: asyncio.StreamReader) -> None:
        while data := await client.read(_CHUNK):
            await asyncio.sleep(self._proxy.delay)
            self._server.write(data)

    async def down(self, server: asyncio.StreamReader) -> None:
        while data := await server.read(_CHUNK):
            await asyncio.sleep(self._proxy.delay)
            await self.flows.wait()
            self._client.write(data)


class Proxy:
    """``port`` is where clients connect to. ``pipes`` are the connections that are open, the oldest first.

    ``delay`` is how many seconds either way takes; what is said meanwhile waits behind, and goes on at once.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self.port = 0
        self.delay = 0.0
        self.pipes: list[Pipe] = []
        self.serving: set[asyncio.Task[None]] = set()
        self.closed = False

    def cut(self) -> None:
        for pipe in self.pipes:
            pipe.cut()

    def accept(self, client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(client, writer))
        self.serving.add(serving)
        serving.add_done_callback(self.serving.discard)

    async def _serve(self, client: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.closed:
            writer.transport.abort()
            return
        server, upstream = await asyncio.open_connection("127.0.0.1", self._target)
        pipe = Pipe(self, writer, upstream)
        self.pipes.append(pipe)
        pumps = [asyncio.create_task(pipe.up(client)), asyncio.create_task(pipe.down(server))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pipe.cut()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.pipes.remove(pipe)


@asynccontextmanager
async def proxy(target: int) -> AsyncIterator[Proxy]:
    """Stand before a port of this machine."""
    made = Proxy(target)
    server = await asyncio.start_server(made.accept, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        made.closed = True
        made.cut()
        await asyncio.gather(*made.serving)
