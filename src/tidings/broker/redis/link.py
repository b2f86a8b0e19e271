"""One connection to Redis (RESP3), shared by everyone in the process.

Commands are sent together, once in a turn of the event loop, and answered in order. Whoever stops waiting
for an answer leaves nothing behind: the answer is read and thrown away when it comes. When an answer is
overdue the connection is over for all, so that nobody waits for ever; that is counted in short ticks, not on
a clock, because after a pause of this process the answer may be there unread.

It does not connect again, and knows nothing of what the commands mean. The bytes are read by hiredis.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from ssl import SSLContext
from typing import cast

from hiredis import HiredisError, PushNotification, Reader, ReplyError, pack_command

from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.address import Address, Login

Word = str | int | float | bytes
Reply = object
"""What a command answered with: bytes, a number, None, or a list or dict of these."""
Push = Callable[[Sequence[bytes]], None]
"""Takes what the server says unasked: the kind, then what belongs to it. Must not raise."""
Ended = Callable[[str], None]

_TICKS = 5
_NOTHING = object()


class LinkLost(BrokerUnavailable):
    """The connection ended, or was never made. A command on the way may have been executed."""


class Refused(BrokerUnavailable):
    """Redis answered with an error; ``code`` is its first word."""

    @property
    def code(self) -> str:
        return str(self).partition(" ")[0]


class Link(asyncio.Protocol):
    """An open connection. ``ended`` is called once, when it is over, and told why; ``patience`` is in seconds."""

    def __init__(self, push: Push, ended: Ended, patience: float) -> None:
        self._push = push
        self._ended = ended
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(notEnoughData=_NOTHING)
        self._waiting: deque[tuple[asyncio.Future[Reply], int]] = deque()
        self._unsent: list[bytes] = []
        self._ticks = 0
        self._fault: str | None = None
        self._gone = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def call(self, *words: Word) -> asyncio.Future[Reply]:
        """Send a command. Its answer comes in the future, which may be cancelled.

        The future raises:
            LinkLost: before there was an answer.
            Refused: the answer is an error.
        """
        answer: asyncio.Future[Reply] = self._loop.create_future()
        if self._fault is not None:
            answer.set_exception(LinkLost(self._fault))
        else:
            self._waiting.append((answer, self._ticks))
            self.send(*words)
        return answer

    def send(self, *words: Word) -> None:
        """Send a command that is answered by what is pushed, if at all."""
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(pack_command(words))  # type: ignore[arg-type]  # its stub says a tuple of one

    def flush(self) -> None:
        """Send now what would be sent at the end of the turn."""
        unsent, self._unsent = self._unsent, []
        if unsent and self._fault is None and self._transport is not None:
            self._transport.write(b"".join(unsent))

    def cut(self, fault: str) -> None:
        """End it at once; whoever waits is told ``LinkLost``. Harmless when it is over."""
        if self._transport is not None:
            self._transport.abort()
        self._end(fault)

    async def close(self) -> None:
        """End it, and wait until its socket is closed."""
        self.cut("closed")
        await self._gone.wait()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._tick()

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
            while self._fault is None and (reply := self._reader.gets()) is not _NOTHING:
                if isinstance(reply, PushNotification):
                    self._push(reply)
                else:
                    self._answer(reply)
        except HiredisError as fault:
            self.cut(f"this is not Redis: {fault}")

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone.set()
        self._end("closed by the other side" if exc is None else f"lost: {exc!r}")

    def _answer(self, reply: Reply) -> None:
        if not self._waiting:
            self.cut(f"an answer that nobody asked for: {reply!r:.200}")
            return
        answer, _ = self._waiting.popleft()
        if answer.done():
            return
        if isinstance(reply, ReplyError):
            answer.set_exception(Refused(str(reply)))
        else:
            answer.set_result(reply)

    def _tick(self) -> None:
        self._ticks += 1
        if self._waiting and self._ticks - self._waiting[0][1] >= _TICKS:
            self.cut(f"no answer within {self._patience} s")
        else:
            self._timer = self._loop.call_later(self._patience / _TICKS, self._tick)

    def _end(self, fault: str) -> None:
        if self._fault is not None:
            return
        self._fault = fault
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, deque()
        for answer, _ in waiting:
            if not answer.done():
                answer.set_exception(LinkLost(fault))
        self._ended(fault)


async def connect(
    address: Address, tls: SSLContext | None, push: Push, ended: Ended, patience: float
) -> Link:
    """Open a connection.

    Raises:
        LinkLost: it cannot be opened, or not within ``patience`` seconds.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(patience):
            _, link = await loop.create_connection(
                partial(Link, push, ended, patience), address.host, address.port, ssl=tls
            )
    except (OSError, TimeoutError) as fault:
        raise LinkLost(f"{address} cannot be reached: {fault!r}") from fault
    return link


async def greet(link: Link, login: Login, name: str) -> None:
    """Say who we are and that we speak RESP3 (Redis 6 and later). ``name`` is what ``CLIENT LIST`` shows.

    Raises:
        Refused: the login is wrong, or the server too old.
        LinkLost: meanwhile.
    """
    who = ("AUTH", login.user, login.password) if login.password else ()
    await link.call("HELLO", 3, *who, "SETNAME", name)
