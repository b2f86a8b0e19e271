"""Which nodes live: each says so every few seconds, and is forgotten when it has been silent for a lease.

Only how many there are is asked here; nothing depends on a node that says it lives and does not.
"""

import asyncio
from typing import cast

import structlog

from tidings.broker.base import BrokerUnavailable
from tidings.cluster.commands import Commands, Script

LEASE_SECONDS = 15.0

_KEY = "tidings:1:nodes"
_RENEWALS = 3
_LIVE = Script(
    """
local clock = redis.call('TIME')
local now, lease = clock[1] * 1000000 + clock[2], tonumber(ARGV[2])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - lease * 1000)
redis.call('PEXPIRE', KEYS[1], lease)
return redis.call('ZCARD', KEYS[1])
"""
)
_LEAVE = Script("return redis.call('ZREM', KEYS[1], ARGV[1])")

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.cluster")


class Registry:
    """``node`` names this process and no other, ever. ``lease`` is in seconds."""

    def __init__(self, commands: Commands, node: str, *, lease: float = LEASE_SECONDS) -> None:
        self._commands = commands
        self._node = node
        self._lease = lease
        self._count = 1

    def count(self) -> int:
        """How many nodes were last known to live, this one among them."""
        return self._count

    async def renew(self) -> None:
        """Say that this node lives, and learn how many do. While Redis is away what was known stays."""
        try:
            reply = await self._commands.run(_LIVE, _KEY, self._node, round(self._lease * 1000))
        except BrokerUnavailable as fault:
            _log.debug("cluster_nodes_unknown", reason=str(fault))
        else:
            self._count = max(1, cast("int", reply))

    async def leave(self) -> None:
        """Say that this node goes. Who does not hear it finds out by the lease."""
        try:
            await self._commands.run(_LEAVE, _KEY, self._node)
        except BrokerUnavailable as fault:
            _log.debug("cluster_nodes_unknown", reason=str(fault))

    async def run(self) -> None:
        """Renew until cancelled."""
        while True:
            await self.renew()
            await asyncio.sleep(self._lease / _RENEWALS)
