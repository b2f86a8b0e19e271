"""A leading Redis server as this process talks to it: one connection for commands, one to hear.

The two live and die together, so that what one says can be ordered against what the other brings: an event
whose command has been answered precedes, on the connection that hears, the answer to a PING sent after that.

It does not connect again, and knows no channel.
"""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from typing import cast

from tidings.broker.redis.address import Address, Target
from tidings.broker.redis.ledger import PUBLISH, READ, Request
from tidings.broker.redis.link import Link, LinkLost, Push, Refused, Reply, Word, connect, greet

_NAMES = ("tidings-commands", "tidings-events")
_NOT_LEADING = ("READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN")


class Server:
    """Connected and examined.

    ``sharded``: Redis 7 and later keep what is published to a channel on the server that has its slot.
    """

    def __init__(self, links: Sequence[Link], lost: asyncio.Future[str], *, sharded: bool) -> None:
        self._lost = lost
        self._commands, self._events = links
        self._verb, self._subscribe, self._unsubscribe = (
            ("SPUBLISH", "SSUBSCRIBE", "SUNSUBSCRIBE") if sharded else ("PUBLISH", "SUBSCRIBE", "UNSUBSCRIBE")
        )

    @property
    def connections(self) -> int:
        """How many are open: none once one was lost."""
        return 0 if self._lost.done() else 2

    async def over(self) -> None:
        """Wait until a connection is lost.

        Raises:
            LinkLost: saying why.
        """
        raise LinkLost(await asyncio.shield(self._lost))

    def run(self, request: Request) -> asyncio.Future[Reply]:
        """Send a script to be run."""
        head = (
            "EVALSHA",
            request.script.sha,
            1,
            request.key,
            secrets.token_hex(8),
            request.memory,
            self._verb,
        )
        return self._commands.call(*head, *request.words)

    def call(self, *words: Word) -> asyncio.Future[Reply]:
        """Send any other command."""
        return self._commands.call(*words)

    def whisper(self, name: bytes, message: bytes) -> asyncio.Future[Reply]:
        """Publish at once what is in no history."""
        answer = self._commands.call(self._verb, name, message)
        self._commands.flush()
        return answer

    async def load(self) -> None:
        """Let Redis know the scripts, which ``SCRIPT FLUSH`` makes it forget.

        Raises:
            BrokerUnavailable: it does not answer.
        """
        await asyncio.gather(*(self.call("SCRIPT", "LOAD", script.text) for script in (PUBLISH, READ)))

    def subscribe(self, names: Collection[bytes]) -> None:
        """Begin to hear these, all of one tenant. ``passed`` tells when that has been done."""
        self._events.send(self._subscribe, *names)

    def unsubscribe(self, names: Collection[bytes]) -> None:
        self._events.send(self._unsubscribe, *names)

    async def passed(self) -> None:
        """Wait until everything has been heard that Redis had published when this was called.

        Raises:
            BrokerUnavailable: that will never be known.
        """
        await self._events.call("PING")

    def cut(self, fault: str) -> None:
        """End both connections at once."""
        for link in (self._commands, self._events):
            link.cut(fault)

    def refused(self, fault: Refused) -> None:
        """It has answered with an error: one that leads no more is let go of."""
        # Before version 7 an error inside a script comes wrapped in another.
        if any(word in str(fault) for word in _NOT_LEADING):
            self.cut(str(fault))

    async def close(self) -> None:
        """End both connections and wait until they are closed."""
        for link in (self._commands, self._events):
            await link.close()


async def reach(address: Address, target: Target, push: Push, patience: float) -> Server:
    """Connect to a server and see what it is. ``patience`` is for each step, in seconds.

    Raises:
        BrokerUnavailable: it cannot be reached, does not let us in, or does not lead.
    """
    lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    links: list[Link] = []

    def end(fault: str) -> None:
        if not lost.done():
            lost.set_result(fault)
        for link in links:
            link.cut(fault)

    try:
        for name in _NAMES:
            link = await connect(address, target.tls, push, end, patience)
            links.append(link)
            await greet(link, target.login, name)
        if target.database:
            await links[0].call("SELECT", target.database)
        await _examine(links)
        server = Server(links, lost, sharded=await _knows(links[0], "SPUBLISH"))
        await server.load()
    except BaseException:
        for link in links:
            await link.close()
        raise
    return server


async def _examine(links: Sequence[Link]) -> None:
    """See that both lead to one server, which leads: a balancer could give us two."""
    replicated = set()
    for link in links:
        text = cast("bytes", await link.call("INFO", "replication")).decode()
        facts = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if facts.get("role") != "master":
            raise LinkLost("the server does not lead")
        replicated.add(facts["master_replid"])
    if len(replicated) > 1:
        raise LinkLost("the address is of more than one server")


async def _knows(link: Link, command: str) -> bool:
    [about] = cast("list[object]", await link.call("COMMAND", "INFO", command))
    return about is not None
