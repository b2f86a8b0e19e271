"""An HTTP/1.1 connection on which a request is under way as soon as it has been asked.

Tests of long-polling need to know that one request was there before another; a client with a pool of
connections does not tell. Only what those tests need: bodies with a length, one request at a time.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType

SECONDS = 10.0
_NONE: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Answer:
    """Names of headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


class HttpConnection:
    """One TCP connection, opened by the first request, and again after an answer that closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] = _NONE
    ) -> None:
        """Write a request. What another connection asks after this comes later to the server as well."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**25)
        given = {"Host": f"127.0.0.1:{self._port}", **headers}
        if body is not None:
            given["Content-Length"] = str(len(body))
        lines = [
            f"{method} {target} HTTP/1.1",
            *(f"{name}: {value}" for name, value in given.items()),
            "",
            "",
        ]
        _, writer = self._streams
        writer.write("\r\n".join(lines).encode() + (body or b""))
        await writer.drain()

    async def answer(self) -> Answer:
        """The answer to what was asked."""
        assert self._streams is not None
        reader, _ = self._streams
        async with asyncio.timeout(SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
        if headers.get("connection") == "close":
            await self.close()
        return Answer(int(first.split(" ")[1]), headers, body)

    async def exchange(
        self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] = _NONE
    ) -> Answer:
        """Ask, and have the answer."""
        await self.ask(method, target, body, headers)
        return await self.answer()

    async def close(self) -> None:
        if self._streams is not None:
            _, writer = self._streams
            self._streams = None
            writer.close()


@asynccontextmanager
async def http_connection(port: int) -> AsyncIterator[HttpConnection]:
    """A connection that does not outlive the block."""
    connection = HttpConnection(port)
    try:
        yield connection
    finally:
        await connection.close()
