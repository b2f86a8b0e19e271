"""Nodes on one Redis: a client that does as the room ``cluster`` asks, its faults, and time that can pass.

The client is redis-py with several connections, so that one call may overtake another. Time passes
by moving what Redis keeps into the past.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import cast

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from tests.support.identity_rig import HandClock
from tests.support.redis import RedisServer
from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.link import Word
from tidings.broker.redis.script import Script
from tidings.cluster.leases import Leases

_AGE = """
local ms = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', 'tidings:*')) do
  local left, kind = redis.call('PTTL', key), redis.call('TYPE', key).ok
  if left >= 0 and left <= ms then
    redis.call('DEL', key)
  else
    if left >= 0 then
      redis.call('PEXPIRE', key, left - ms)
    end
    if kind == 'zset' then
      for _, member in ipairs(redis.call('ZRANGE', key, 0, -1)) do
        redis.call('ZINCRBY', key, -ms * 1000, member)
      end
    elseif kind == 'hash' then
      local fields = redis.call('HGETALL', key)
      for i = 1, #fields, 2 do
        local count, version, ends = string.match(fields[i + 1], '(%d+) (%d+) (%d+)')
        redis.call('HSET', key, fields[i], string.format('%s %s %d', count, version, ends - ms))
      end
    end
  end
end
"""

_CONNECTIONS = 10


class Client:
    """``Commands`` of one node. ``calls`` counts them.

    ``cut``: Redis is out of reach. ``deaf``: it hears us, but its answers are lost.
    """

    def __init__(self, port: int, patience: float = 5.0) -> None:
        pool = BlockingConnectionPool(
            max_connections=_CONNECTIONS,
            timeout=patience,
            port=port,
            socket_timeout=patience,
            socket_connect_timeout=patience,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis = Redis.from_pool(pool)
        self.cut = False
        self.deaf = False
        self.calls = 0

    async def run(self, script: Script, key: str | Sequence[str], *words: Word) -> object:
        self.calls += 1
        if self.cut:
            raise BrokerUnavailable("out of reach")
        try:
            reply = await self._evaluate(script, (key,) if isinstance(key, str) else key, words)
        except (RedisError, OSError) as fault:
            raise BrokerUnavailable(repr(fault)) from fault
        if self.deaf:
            raise BrokerUnavailable("the answer was lost")
        return reply

    async def values(self, key: str) -> list[bytes]:
        """What is in a hash."""
        return await cast("Awaitable[list[bytes]]", self._redis.hvals(key))

    async def close(self) -> None:
        await self._redis.aclose()

    async def _evaluate(self, script: Script, keys: Sequence[str], words: tuple[Word, ...]) -> object:
        try:
            return await cast("Awaitable[object]", self._redis.evalsha(script.sha, len(keys), *keys, *words))
        except NoScriptError:
            return await cast("Awaitable[object]", self._redis.eval(script.text, len(keys), *keys, *words))


@dataclass
class Cluster:
    """Clients of one Redis, which is empty at first, and the clock of their nodes."""

    server: RedisServer
    stack: AsyncExitStack
    clock: HandClock = field(default_factory=HandClock)

    def client(self, patience: float = 5.0) -> Client:
        client = Client(self.server.port, patience)
        self.stack.push_async_callback(client.close)
        return client

    def advance(self, seconds: float) -> None:
        """Let time pass, in Redis and on every node."""
        self.clock.now += seconds
        self.server.say("EVAL", _AGE, 0, round(seconds * 1000))

    def flush(self) -> None:
        self.server.say("FLUSHALL")

    def keys(self) -> str:
        return self.server.say("KEYS", "*")


@asynccontextmanager
async def running(*leases: Leases) -> AsyncIterator[None]:
    """Let nodes tell and renew for the time of the block; after it they are as dead."""
    tasks = [asyncio.create_task(each.run()) for each in leases]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float = 10.0) -> None:
    """Ask again and again, every 5 ms, until it is so.

    Raises:
        TimeoutError: it was not so in that time.
    """
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110  it is another process that makes it so
            await asyncio.sleep(0.005)


@asynccontextmanager
async def cluster(server: RedisServer) -> AsyncIterator[Cluster]:
    """Nodes on this server, for the time of the block."""
    server.say("FLUSHALL")
    async with AsyncExitStack() as stack:
        yield Cluster(server, stack)
