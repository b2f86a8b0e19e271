"""A connection whose request is for another worker of this machine goes there: descriptor, bytes read, and all.

Nothing is relayed and no answer comes back: from then on the connection is the other worker's, as if it had been
accepted there. Whose a request is, and what the client hears when nobody is there, is decided elsewhere.

A parcel is one connection to the other worker's Unix socket: the length of what was read of the client (4 bytes,
big-endian) and those bytes, with the client's descriptor (``SCM_RIGHTS``). One that ends early is void, and its
sender still has the client. Whoever can reach the socket is trusted: its directory is the crew's alone. TLS, if
any, ends in front of the server.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from enum import Enum
from functools import partial
from pathlib import Path

import structlog

from tidings import metrics
from tidings.domain.crew import Crew
from tidings.transports.background import Background

_SIZE = struct.Struct(">I")
_BUFFER_BYTES = 1024 * 1024
"""Asked of the system for a parcel in flight. Front reads less ahead than the least that systems grant."""
_READ_BYTES = 64 * 1024
_BACKLOG = 1024
"""Parcels that wait for a busy worker; with more, clients are told to come back."""
_AT_ONCE = 64
"""Parcels accepted in one turn of the loop, which others want as well."""
_PAUSE_SECONDS = 1.0
"""How long nothing is accepted after the system refused."""

_log = structlog.stdlib.get_logger("tidings.handover")

Receive = Callable[[bytes], asyncio.Protocol]
"""Makes the protocol of a connection of which these bytes have been read."""


class Outcome(Enum):
    """What became of a connection that was to be given away. The values are those of the metric."""

    MOVED = "moved"
    """It is the other worker's; here it has to be dropped, by ``abort``."""
    GONE = "gone"
    """There is no such worker, and so none of its sessions."""
    BUSY = "busy"
    """It cannot be given away now."""


class Handover:
    """One worker's end of it."""

    def __init__(self, crew: Crew) -> None:
        self._crew = crew
        self._path = crew.handover(crew.number)
        self._receive: Receive
        self._listener: socket.socket | None = None
        self._parcels: set[_Parcel] = set()
        self._beginnings = Background()

    def send(self, worker: int, transport: asyncio.BaseTransport, data: bytes) -> Outcome:
        """Give a connection away on which no answer is owed and none waits in the transport.

        ``data`` is what was read of it and is still to be answered.
        """
        outcome = _post(self._crew.handover(worker), transport.get_extra_info("socket").fileno(), data)
        metrics.handovers.labels(outcome.value).inc()
        return outcome

    def listen(self, receive: Receive) -> None:
        """Take over what other workers give away, until ``close``.

        Raises:
            OSError: the socket cannot be made.
        """
        # What a worker left that had this number before.
        self._path.unlink(missing_ok=True)
        self._receive = receive
        self._listener = listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.setblocking(False)
        listener.bind(str(self._path))
        listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    async def close(self) -> None:
        """Take what has been sent already, and no more: whoever sends from now on finds nobody."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._path.unlink(missing_ok=True)
            asyncio.get_running_loop().remove_reader(listener)
            self._accept(listener, _BACKLOG)
            listener.close()
        for parcel in list(self._parcels):
            parcel.finish()
        await self._beginnings.close()

    def _accept(self, listener: socket.socket, most: int = _AT_ONCE) -> None:
        try:
            for _ in range(most):
                wire, _ = listener.accept()
                self._parcels.add(_Parcel(wire, self._arrived))
        except BlockingIOError:
            pass
        except OSError as fault:
            # Out of descriptors, most likely. Asked again at once, the system would say the same.
            _log.error("no connection can be taken over", reason=fault.strerror)
            loop = asyncio.get_running_loop()
            loop.remove_reader(listener)
            loop.call_later(_PAUSE_SECONDS, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if self._listener is listener:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def _arrived(self, parcel: "_Parcel") -> None:
        self._parcels.discard(parcel)
        client = parcel.client()
        if client is None:
            metrics.handovers.labels("void").inc()
            _log.warning("void parcel", size=len(parcel.content))
            return
        metrics.handovers.labels("taken").inc()
        self._beginnings.spawn(_begin(client, partial(self._receive, bytes(parcel.content[_SIZE.size :]))))


class _Parcel:
    """What is coming from another worker: at most one from each at a time, for it is sent without a pause."""

    def __init__(self, wire: socket.socket, arrived: Callable[["_Parcel"], None]) -> None:
        self.content = bytearray()
        self._wire = wire
        self._arrived = arrived
        self._descriptors: list[int] = []
        wire.setblocking(False)
        asyncio.get_running_loop().add_reader(wire, self._read)

    def client(self) -> socket.socket | None:
        """The connection, now the caller's; None if this is no parcel."""
        size = _SIZE.unpack_from(self.content)[0] if len(self.content) >= _SIZE.size else -1
        if len(self._descriptors) != 1 or len(self.content) != _SIZE.size + size:
            self._drop()
            return None
        try:
            client = socket.socket(fileno=self._descriptors[0])
        except OSError:
            self._drop()
            return None
        client.set_inheritable(False)
        client.setblocking(False)
        return client

    def finish(self) -> None:
        """Take it as far as it has come: whole, unless its sender was stopped amidst it."""
        while self._read():
            pass
        if self._wire.fileno() >= 0:
            self._end()

    def _read(self) -> bool:
        """Take the next piece. False: there is none, for now or for ever."""
        try:
            # Room for two, of which the second is one too many.
            data, descriptors, *_ = socket.recv_fds(self._wire, _READ_BYTES, 2)
        except BlockingIOError:
            return False
        except OSError:
            data, descriptors = b"", []
        self._descriptors += descriptors
        self.content += data
        if not data:
            self._end()
        return bool(data)

    def _end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._wire)
        self._wire.close()
        self._arrived(self)

    def _drop(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


def _post(path: Path, descriptor: int, data: bytes) -> Outcome:
    parcel = _SIZE.pack(len(data)) + data
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as wire:
            wire.setblocking(False)
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
            wire.connect(str(path))
            sent = socket.send_fds(wire, [parcel], [descriptor])
    except (FileNotFoundError, ConnectionError):
        return Outcome.GONE
    except OSError as fault:
        _log.warning("connection not handed over", reason=fault.strerror)
        return Outcome.BUSY
    return Outcome.MOVED if sent == len(parcel) else Outcome.BUSY


async def _begin(client: socket.socket, make: Callable[[], asyncio.Protocol]) -> None:
    try:
        await asyncio.get_running_loop().connect_accepted_socket(make, client)
    except BaseException:
        client.close()
        raise
