"""HTTP connections as the server has them, in this process: a mount on ``/desk/``, an application beside it.

Only the clock is not real: deadlines are on a wheel that ``Rig.pass_seconds`` turns. What the mount does is
said by the target, so that a test reads as the requests it sends.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from tidings.domain.crew import Crew
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.hub.wheel import Wheel
from tidings.transports.exchange import Reply, Request, Successor, Taker, Upgrade
from tidings.transports.front import Front
from tidings.transports.handover import Handover
from tidings.transports.server import configure
from tidings.transports.site import Limits

LIMITS = Limits(connections=50, header_bytes=1000, body_bytes=2000, head_seconds=10, body_seconds=30)
MAX_BODY = 100
DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"

Answer = tuple[int, dict[str, str], bytes]


@dataclass
class Desk:
    """A mount. Targets that hold ``pend`` are answered by the test, ``early`` and ``refuse`` before the body.

    A target that ends with ``@`` and a number is for the worker of that number; without one, for any.
    """

    requests: list[Request] = field(default_factory=list)
    upgrades: list[Upgrade] = field(default_factory=list)
    pending: list[Reply] = field(default_factory=list)
    lost: list[bytes] = field(default_factory=list)
    oversize: int = 0
    refusal: TidingsError | None = None
    max_body: int = MAX_BODY
    worker: int = 0

    def elsewhere(self, target: bytes) -> int | None:
        _, at, worker = target.rpartition(b"@")
        return int(worker) if at and int(worker) != self.worker else None

    def upgrade(self, upgrade: Upgrade) -> Successor | TidingsError:
        self.upgrades.append(upgrade)
        return Echo(upgrade) if self.refusal is None else self.refusal

    def begin(self, request: Request, reply: Reply) -> Taker | None:
        self.requests.append(request)
        reply.lost = lambda: self.lost.append(request.target)
        if b"boom" in request.target:
            raise ZeroDivisionError
        if b"early" in request.target:
            reply.answer(200, [], b"early")
            if b"fault" in request.target:
                raise ZeroDivisionError
        elif b"refuse" in request.target:
            reply.refuse(TidingsError(ErrorCode.CONFLICT), [(b"x-given", b"yes")])
        elif b"unread" in request.target:
            self.pending.append(reply)
        else:
            return _Clerk(self, request, reply)
        return None


@dataclass
class _Clerk:
    """Wants a body and answers with it, after the method and the target."""

    desk: Desk
    request: Request
    reply: Reply

    def take(self, body: bytes) -> None:
        if b"pend" in self.request.target:
            self.desk.pending.append(self.reply)
        elif b"none" in self.request.target:
            self.reply.answer(204, [], b"")
        else:
            said = b"%b %b %b" % (self.request.method, self.request.target, body)
            self.reply.answer(200, [(b"content-type", b"text/plain")], said)

    def oversize(self) -> None:
        self.desk.oversize += 1


class Echo(asyncio.Protocol):
    """What an upgraded connection is handed to: it says back what it is told."""

    def __init__(self, upgrade: Upgrade) -> None:
        self._upgrade = upgrade
        upgrade.transport.write(b"upgraded " + upgrade.rest)

    def data_received(self, data: bytes) -> None:
        self._upgrade.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._upgrade.connections.discard(self)

    def shutdown(self) -> None:
        self._upgrade.transport.close()


class App:
    """An application: says its path and the length of the body; ``/slow`` waits for ``release``.

    ``headers`` are those of the request that was read last, as they are then.
    """

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.asked: list[str] = []
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.asked.append(scope["path"])
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
        if scope["path"] == "/slow":
            await self.release.wait()
        self.headers = scope["headers"]
        body = f"app {scope['path']} {size}".encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class Line:
    """A client's connection, on which anything can be said."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, *, bare: bool = False) -> Answer:
        """The next response: status, headers in lower case, body."""
        async with asyncio.timeout(5):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode()
            first, *lines = head.strip().split("\r\n")
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            size = 0 if bare else int(headers.get("content-length", "0"))
            body = await self.reader.readexactly(size)
        return int(first.split(" ")[1]), headers, body

    async def body(self) -> bytes:
        """The body of the next response, which must be a 200."""
        status, _, body = await self.answer()
        assert status == 200
        return body

    async def ended(self) -> bytes:
        """What still came until the server ended the connection."""
        async with asyncio.timeout(5):
            return await self.reader.read()


class Rig:
    """One server's connections. ``state.connections`` are those that are open."""

    def __init__(self, limits: Limits, crew: Crew | None = None) -> None:
        self.desk = Desk(worker=0 if crew is None else crew.number)
        self.handover = None if crew is None else Handover(crew)
        self.app = App()
        self.wheel = Wheel(time.monotonic())
        self.state = ServerState()
        self.state.default_headers = [(b"date", DATE)]
        self._config = configure(
            self.app,
            host="",
            port=0,
            limits=limits,
            wheel=self.wheel,
            mounts={b"/desk/": self.desk},
            handover=self.handover,
        )
        self._config.load()
        self._port = 0

    @property
    def connections(self) -> list[Any]:
        return list(self.state.connections)

    def protocol(self) -> asyncio.Protocol:
        """A new connection's, as uvicorn asks for it."""
        make: Callable[..., asyncio.Protocol] = self._config.http_protocol_class
        return make(config=self._config, server_state=self.state, app_state={}, _loop=None)

    def inherit(self, data: bytes) -> asyncio.Protocol:
        """Of a connection that another worker began."""
        front = self.protocol()
        assert isinstance(front, Front)
        front.inherit(data)
        return front

    def pass_seconds(self, seconds: float) -> None:
        self.wheel.advance(time.monotonic() + seconds)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.get_running_loop().create_server(self.protocol, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.app.release.set()
            await server.wait_closed()

    @asynccontextmanager
    async def line(self) -> AsyncIterator[Line]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=2**22)
        try:
            yield Line(reader, writer)
        finally:
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)


@asynccontextmanager
async def rigged(limits: Limits = LIMITS) -> AsyncIterator[Rig]:
    """A server that listens; at the end all of its connections have to be over."""
    rig = Rig(limits)
    async with rig.listening():
        yield rig
    await until(lambda: not rig.state.connections and not rig.state.tasks)


async def until(condition: Callable[[], bool]) -> None:
    """Let the event loop run until something has come true."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  what it looks at signals nothing
            await asyncio.sleep(0.001)


def get(target: str, *headers: str) -> bytes:
    return request("GET", target, *headers)


def post(target: str, body: bytes, *headers: str) -> bytes:
    return request("POST", target, f"Content-Length: {len(body)}", *headers) + body


def request(method: str, target: str, *headers: str) -> bytes:
    """A request without a body."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *headers, "", ""]).encode()


def chunked(target: str, *chunks: bytes, trailer: bytes = b"") -> bytes:
    """A POST in chunks."""
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    return request("POST", target, "Transfer-Encoding: chunked") + coded + b"0\r\n" + trailer + b"\r\n"
