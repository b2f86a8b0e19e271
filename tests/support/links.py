"""Two ends of a real TCP connection: an asyncio transport on one, a plain socket on the other."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass


class Carrier(asyncio.Protocol):
    """A protocol that only passes on what the transport tells of writing."""

    def __init__(self) -> None:
        self.on_resume: Callable[[], None] = lambda: None
        self.lost = asyncio.Event()

    def resume_writing(self) -> None:
        self.on_resume()

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


@dataclass
class Link:
    """``transport`` is the server's end; ``peer`` the client's, non-blocking."""

    transport: asyncio.Transport
    carrier: Carrier
    peer: socket.socket

    async def read(self, size: int) -> bytes:
        """Exactly ``size`` bytes from the client's end."""
        loop = asyncio.get_running_loop()
        data = b""
        while len(data) < size:
            part = await loop.sock_recv(self.peer, size - len(data))
            if not part:
                break
            data += part
        return data

    def nothing_there(self) -> bool:
        try:
            return self.peer.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return True


@contextlib.asynccontextmanager
async def link(send_buffer: int | None = None) -> AsyncIterator[Link]:
    """A connection over loopback; a small ``send_buffer`` makes the client's end a slow reader."""
    listener = socket.create_server(("127.0.0.1", 0))
    peer = socket.socket()
    if send_buffer is not None:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, send_buffer)
    peer.connect(listener.getsockname())
    server, _ = listener.accept()
    listener.close()
    if send_buffer is not None:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    server.setblocking(False)
    peer.setblocking(False)
    transport, carrier = await asyncio.get_running_loop().connect_accepted_socket(Carrier, server)
    try:
        yield Link(transport, carrier, peer)
    finally:
        transport.abort()
        peer.close()
        await carrier.lost.wait()
