"""Which nodes live, and how they fare: each says so every few seconds, and is forgotten when it has been silent
for a lease.

Limits are shared by how many of them serve clients, and administrators are shown the rest; nothing depends on a node that
says it lives and does not. All of it is one sorted set in Redis, whose members are what each told last.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import orjson
import structlog

from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.script import Script
from tidings.cluster.commands import Commands
from tidings.domain.clock import rfc3339
from tidings.domain.node import NodeRole, NodeState

LEASE_SECONDS = 15.0

_KEY = "tidings:1:nodes"
_RENEWALS = 3
_MICRO = 1_000_000
# A member begins with the node's name and a space. With nothing to tell, the node goes.
_TELL = Script(
    """
local clock = redis.call('TIME')
local now, lease = clock[1] * 1000000 + clock[2], tonumber(ARGV[3])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lease * 1000)
local prefix = ARGV[1] .. ' '
for _, member in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if string.sub(member, 1, #prefix) == prefix then
    redis.call('ZREM', KEYS[1], member)
  end
end
if ARGV[2] ~= '' then
  redis.call('ZADD', KEYS[1], now, prefix .. ARGV[2])
  redis.call('PEXPIRE', KEYS[1], lease)
end
return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
"""
)

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.cluster")


class Registry:
    """``node`` names this process and no other, ever. ``lease`` is in seconds. ``state`` is how it fares now.

    ``least`` is how many servers there are whatever Redis knows: those that were started together. So they share
    a limit although Redis was away when they began.
    """

    def __init__(
        self,
        commands: Commands,
        node: str,
        state: Callable[[], NodeState],
        *,
        least: int = 1,
        lease: float = LEASE_SECONDS,
    ) -> None:
        self._commands = commands
        self._node = node
        self._state = state
        self._lease = lease
        self._least = least
        self._count = least
        self._told: Sequence[dict[str, Any]] = ()

    def count(self) -> int:
        """How many servers were last known to live, never fewer than ``least``."""
        return self._count

    async def renew(self) -> None:
        """Say that this node lives, and learn how many do. While Redis is away what was known stays."""
        try:
            await self.nodes()
        except BrokerUnavailable as fault:
            _log.debug("cluster_nodes_unknown", reason=str(fault))

    async def nodes(self) -> list[dict[str, Any]]:
        """The nodes that live, this one as it is now and the others as they last told.

        Raises:
            BrokerUnavailable: nobody can be asked.
        """
        reply = await self._run(orjson.dumps(self._state().to_json()))
        told = zip(reply[::2], reply[1::2], strict=True)
        found = [_seen(member.partition(b" ")[2], float(at) / _MICRO) for member, at in told]
        self._count = max(self._least, sum(node["role"] == NodeRole.SERVER for node in found))
        self._told = sorted(found, key=lambda node: (node["startedAt"], node["id"]))
        return list(self._told)

    def known(self) -> list[dict[str, Any]]:
        """The nodes that lived when Redis was last asked, this one as it is now; it need not be asked for this."""
        own = seen_now(self._state())
        return [own, *(node for node in self._told if node["id"] != own["id"])]

    async def leave(self) -> None:
        """Say that this node goes. Who does not hear it finds out by the lease."""
        try:
            await self._run(b"")
        except BrokerUnavailable as fault:
            _log.debug("cluster_nodes_unknown", reason=str(fault))

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(self._lease / _RENEWALS)

    async def _run(self, told: bytes) -> Sequence[bytes]:
        words = (self._node, told, round(self._lease * 1000))
        return cast("Sequence[bytes]", await self._commands.run(_TELL, _KEY, *words))


def seen_now(state: NodeState) -> dict[str, Any]:
    """This node as one of ``Registry.nodes``, for one that has no others."""
    return {**state.to_json(), "lastSeen": rfc3339(datetime.now(UTC))}


def _seen(told: bytes, at: float) -> dict[str, Any]:
    """What a node told, with when that was by the clock of Redis, in seconds."""
    node: dict[str, Any] = orjson.loads(told)
    return {**node, "lastSeen": rfc3339(datetime.fromtimestamp(at, UTC))}
