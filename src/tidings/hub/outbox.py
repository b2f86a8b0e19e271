"""How bytes leave: straight to the descriptor while a link keeps up, through a bounded queue while it does not.

One overflow rule: of unsent progress only the newest of each channel is kept; everything else is kept in
order until ``limit`` bytes, and then the session has to be closed. A replay is not kept: its bytes are made as
the link takes them. Nothing here awaits.
"""

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import takewhile
from typing import NamedTuple, Protocol, TypeVar

from tidings import metrics
from tidings.domain.channel import GLOBAL_TENANT, Channel
from tidings.domain.event import EventClass
from tidings.domain.position import Cursor

_CHUNK = 64 * 1024

_Queue = dict[object, bytes | Iterator[bytes]]
"""What waits, in order: bytes by the slot in which newer ones may replace them, and replays."""


class Frame(NamedTuple):
    """One event in its final bytes for one wire format."""

    channel: Channel
    offset: int
    klass: EventClass
    data: bytes


class Outbox:
    """The sending half of one connection. It has to be held until it is attached to a transport.

    ``fd`` is the descriptor to write to directly, or -1 whenever that is not allowed: while earlier bytes
    wait, while the session is held, on TLS, and once the connection is over.
    """

    __slots__ = ("_direct", "_held", "_limit", "_mark", "_queue", "_queued", "_transport", "fd")

    def __init__(self, limit: int) -> None:
        self._transport: asyncio.WriteTransport = _NOWHERE
        self._limit = limit
        self._direct = -1
        self._queue: _Queue | None = None
        self._queued = 0
        self._held: list[Frame] | None = None
        self._mark = (0.0, -1)
        self.fd = -1

    def attach(self, transport: asyncio.WriteTransport) -> None:
        """Send through this transport from now on."""
        transport.set_write_buffer_limits(high=0)
        self._transport = transport
        self._direct = _descriptor(transport)
        if self._held is None:
            self.fd = self._direct

    def move(self, transport: asyncio.WriteTransport, convert: Callable[[bytes], bytes]) -> None:
        """Go on through another transport. What waits here goes with it, turned into the other's bytes."""
        if self._held is not None:
            self._queued -= sum(len(frame.data) for frame in self._held)
            self._held = [frame._replace(data=convert(frame.data)) for frame in self._held]
            self._queued += sum(len(frame.data) for frame in self._held)
        self.attach(transport)
        if self._queue is not None:
            self.fd = -1
            before = _bytes(self._queue)
            for slot, data in self._queue.items():
                self._queue[slot] = convert(data) if isinstance(data, bytes) else map(convert, data)
            self._account(_bytes(self._queue) - before)
            self._pump()

    def take(self) -> bytes:
        """Everything that waits, as ``cut`` leaves it, and is then no longer here. What is held stays."""
        self.cut()
        queue, self._queue = self._queue or {}, None
        waiting = b"".join([data for data in queue.values() if isinstance(data, bytes)])
        self._account(-len(waiting))
        return waiting

    def cut(self) -> None:
        """Give a replay up, and all that waits behind it: nobody is to go on behind what they were not told."""
        if self._queue:
            kept = dict(takewhile(lambda entry: isinstance(entry[1], bytes), self._queue.items()))
            self._account(_bytes(kept) - _bytes(self._queue))
            self._queue = kept

    @property
    def congested(self) -> bool:
        """Whether bytes wait for the link."""
        return self._queue is not None

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self.waiting > self._limit

    @property
    def waiting(self) -> int:
        """Bytes that wait here and in the transport."""
        return self._queued + self._transport.get_write_buffer_size()

    def send(self, data: bytes) -> bool:
        """Send bytes that belong to no channel. False: they do not fit; close the session."""
        if self._queue is None:
            self._push(data)
            return True
        return self._enqueue(object(), data)

    def replay(self, pieces: Iterator[bytes]) -> None:
        """Send pieces of any size in all, each when the link has taken what comes before it.

        What is sent afterwards waits for them. They count for nothing here: what they are made of is history,
        which is there for others as well.
        """
        while self._queue is None:
            piece = next(pieces, None)
            if piece is None:
                return
            self._push(piece)
        self._queue[object()] = pieces

    def offer(self, frames: Sequence[Frame]) -> bool:
        """Take events on the slow way. False: they do not fit; close the session."""
        if self._held is None:
            return self._let_go(frames)
        self._held.extend(frames)
        self._queued += _size(frames)
        return self.waiting <= self._limit

    def hold(self) -> None:
        """Keep what channels bring until ``release``; what ``send`` is given still goes out."""
        if self._held is None:
            self._held = []
            self.fd = -1

    def pass_on(self, upto: Cursor, told: Collection[Channel]) -> bool:
        """Let go of what came up to ``upto``, and hold on to the rest. False: it does not fit.

        What ``told`` brought up to there is forgotten: the caller tells of it next. So a session that hears
        other channels already is told of the new ones in its turn, and no position overtakes another.
        """
        if not self._held:
            return True
        held, self._held = self._held, []
        due = []
        for frame in held:
            if frame.offset > _seen(upto, frame.channel):
                self._held.append(frame)
            elif frame.channel not in told:
                due.append(frame)
        self._queued -= _size(held) - _size(self._held)
        return self._let_go(due)

    def release(self, upto: Cursor, told: Collection[Channel]) -> bool:
        """Hold no longer. What ``told`` brought up to ``upto`` is forgotten. False: the rest does not fit."""
        fits = self.pass_on(upto, told)
        held, self._held = self._held or [], None
        self._queued -= _size(held)
        if self._queue is None:
            self.fd = self._direct
        return self._let_go(held) and fits

    def take_rest(self, data: bytes) -> None:
        """What a direct write did not get rid of."""
        self.fd = -1
        self._queue = {}
        self._transport.write(data)
        self._pump()

    def writable(self) -> None:
        """The transport has sent everything it was given."""
        self._mark = (0.0, -1)
        self._pump()

    def stalled(self, now: float, timeout: float) -> bool:
        """Whether the link has taken no byte for ``timeout`` seconds. Ask now and then while congested."""
        if self._queue is None:
            return False
        since, size = self._mark
        waiting = self._transport.get_write_buffer_size()
        if waiting != size:
            self._mark = (now, waiting)
            return False
        return now - since >= timeout

    def close(self) -> None:
        """Forget everything; whatever is still given to it goes nowhere."""
        self.fd = self._direct = -1
        self._transport = _NOWHERE
        if self._queue:
            metrics.outbox_bytes.dec(_bytes(self._queue))
        self._queue = None
        self._held = None
        self._queued = 0

    def _let_go(self, frames: Sequence[Frame]) -> bool:
        if not frames:
            return True
        if self._queue is None:
            self._push(b"".join([frame.data for frame in frames]))
            return True
        return all(self._enqueue(_slot(frame), frame.data) for frame in frames)

    def _push(self, data: bytes) -> None:
        if self._direct < 0:
            self._transport.write(data)
            if self._transport.get_write_buffer_size():
                self._queue = {}
            return
        try:
            sent = os.write(self._direct, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # Nothing leaves any more; the transport says so in a moment.
            self.fd = self._direct = -1
            self._queue = {}
            self._transport.abort()
            return
        if sent != len(data):
            self.take_rest(data[sent:])

    def _enqueue(self, slot: object, data: bytes) -> bool:
        queue = self._queue
        if queue is None:
            return False
        replaced = queue.pop(slot, None)
        if isinstance(replaced, bytes):
            self._account(-len(replaced))
            metrics.outbox_conflated.inc()
        queue[slot] = data
        self._account(len(data))
        return self.waiting <= self._limit

    def _pump(self) -> None:
        """Hand queued bytes to the transport for as long as it takes all of them."""
        while self._queue is not None and not self._transport.get_write_buffer_size():
            chunk = self._chunk(self._queue)
            if chunk:
                self._transport.write(chunk)
                continue
            self._queue = None
            if self._held is None:
                self.fd = self._direct

    def _chunk(self, queue: _Queue) -> bytes:
        """What is to be sent next; nothing only when the queue is empty."""
        parts = []
        size = counted = 0
        while queue and size < _CHUNK:
            slot, waiting = next(iter(queue.items()))
            if isinstance(waiting, bytes):
                piece = waiting
                counted += len(piece)
                del queue[slot]
            else:
                piece = next(waiting, b"")
                if not piece:
                    del queue[slot]
            parts.append(piece)
            size += len(piece)
        self._account(-counted)
        return b"".join(parts)

    def _account(self, size: int) -> None:
        self._queued += size
        metrics.outbox_bytes.inc(size)


class HasOutbox(Protocol):
    @property
    def outbox(self) -> Outbox: ...


S = TypeVar("S", bound=HasOutbox)


def write_all(sessions: Iterable[S], frames: Sequence[Frame]) -> list[S]:
    """The fan-out: the same bytes to every session, by one system call each.

    Nothing is awaited, and nothing is made per recipient. Returns the sessions whose outbox is full or whose
    connection is broken; closing them is the caller's, after the loop.
    """
    data = b"".join([frame.data for frame in frames])
    size = len(data)
    write = os.write
    failed = []
    for session in sessions:
        outbox = session.outbox
        fd = outbox.fd
        if fd < 0:
            if not outbox.offer(frames):
                failed.append(session)
            continue
        try:
            sent = write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            failed.append(session)
            continue
        if sent != size:
            outbox.take_rest(data[sent:])
    return failed


class _Nowhere(asyncio.WriteTransport):
    """The transport of an outbox that has none yet, or no more."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody is there."""

    def get_write_buffer_size(self) -> int:
        return 0

    def abort(self) -> None:
        """Nothing is open."""


_NOWHERE = _Nowhere()


def _descriptor(transport: asyncio.WriteTransport) -> int:
    socket = transport.get_extra_info("socket")
    if socket is None or transport.get_extra_info("ssl_object") is not None:
        return -1
    return int(socket.fileno())


def _size(frames: Iterable[Frame]) -> int:
    return sum(len(frame.data) for frame in frames)


def _bytes(queue: _Queue) -> int:
    return sum(len(data) for data in queue.values() if isinstance(data, bytes))


def _slot(frame: Frame) -> object:
    return frame.channel if frame.klass is EventClass.PROGRESS else object()


def _seen(cursor: Cursor, channel: Channel) -> int:
    return (cursor.everyone if channel.tenant == GLOBAL_TENANT else cursor.tenant).offset
