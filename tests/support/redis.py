"""Real Redis servers for the tests, on ports of their own, keeping nothing on disk."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from redis import Redis

from tests.support.processes import Child, free_port, running, wait_until
from tests.support.programs import redis_server

SLOTS = 16_384

ORDINARY = ("--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", "")
"""Options that make a server one of before sharded publishing."""

_AGE = """
local ms = tonumber(ARGV[1])
for _, key in ipairs(redis.call('KEYS', 'tidings:*')) do
  local left = redis.call('PTTL', key)
  if left >= 0 and left <= ms then
    redis.call('DEL', key)
  else
    redis.call('PEXPIRE', key, left - ms)
    local kind = redis.call('TYPE', key).ok
    if kind == 'hash' then
      redis.call('HINCRBY', key, 'marked', -ms * 1000)
    elseif kind == 'list' then
      for i, message in ipairs(redis.call('LRANGE', key, 0, -1)) do
        local at = struct.unpack('>I8', message, 33) - ms * 1000
        redis.call('LSET', key, i - 1, message:sub(1, 32) .. struct.pack('>I8', at) .. message:sub(41))
      end
    end
  end
end
"""
"""Lets time pass for what a broker keeps: its past is moved, since a server's clock cannot be."""


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server. ``child`` is there to be paused or killed by the tests of faults."""

    port: int
    child: Child

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def say(self, *words: str | int) -> str:
        """Let it run a command; what it answers, as it would be printed."""
        with Redis(port=self.port) as client:
            run = cast("Callable[..., object]", client.execute_command)
            return repr(run(*words))


@dataclass(frozen=True, slots=True)
class Arrangement:
    """Servers that a broker is given one URL for: those that lead, those that follow, and who watches."""

    url: str
    servers: Sequence[RedisServer]
    followers: Sequence[RedisServer] = ()
    sentinels: Sequence[RedisServer] = ()

    def flush(self) -> None:
        """Forget everything."""
        for server in self.servers:
            server.say("FLUSHALL")

    def age(self, seconds: float) -> None:
        """Let time pass for what is kept."""
        for server in self.servers:
            server.say("EVAL", _AGE, 0, round(seconds * 1000))


@contextmanager
def serving(port: int | None = None, *, options: Sequence[str] = ()) -> Iterator[RedisServer]:
    """Serve an empty Redis for the time of the block; on a given port to come back where one was.

    Raises:
        MissingProgramError: there is no redis-server, or one that is too old.
    """
    chosen = free_port() if port is None else port
    with tempfile.TemporaryDirectory(prefix="tidings-redis-") as folder:
        kept = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder)
        with running([redis_server(), "--port", str(chosen), *kept, *options]) as child:
            child.wait_for_output("Ready to accept connections")
            yield RedisServer(chosen, child)


@contextmanager
def standalone(*options: str) -> Iterator[Arrangement]:
    """One server."""
    with serving(options=options) as server:
        yield Arrangement(server.url, [server])


@contextmanager
def cluster(size: int = 3) -> Iterator[Arrangement]:
    """A cluster of leading servers alone."""
    with ExitStack() as stack:
        buses = [free_port() for _ in range(size)]
        servers = [stack.enter_context(serving(options=_cluster_options(bus))) for bus in buses]
        step = SLOTS // size + 1
        for number, server in enumerate(servers):
            server.say("CLUSTER", "ADDSLOTSRANGE", number * step, min((number + 1) * step, SLOTS) - 1)
            server.say("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            server.say("CLUSTER", "MEET", "127.0.0.1", servers[0].port, buses[0])
        wait_until(lambda: all(_sees(server, size) for server in servers))
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
        yield Arrangement(f"redis+cluster://{hosts}", servers)


@contextmanager
def sentinel() -> Iterator[Arrangement]:
    """A leading server, one that follows it, and a sentinel that watches both."""
    with ExitStack() as stack:
        leader = stack.enter_context(serving(options=("--repl-diskless-sync-delay", "0")))
        follower = stack.enter_context(serving(options=("--replicaof", f"127.0.0.1 {leader.port}")))
        wait_until(lambda: _followed(leader))
        watcher = stack.enter_context(_watching(leader, follower))
        url = f"redis+sentinel://127.0.0.1:{watcher.port}/leader"
        yield Arrangement(url, [leader], [follower], [watcher])


@contextmanager
def _watching(leader: RedisServer, follower: RedisServer) -> Iterator[RedisServer]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="tidings-sentinel-") as folder:
        config = Path(folder, "sentinel.conf")
        config.write_text(
            f"port {port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor leader 127.0.0.1 {leader.port} 1\n"
            "sentinel down-after-milliseconds leader 500\n"
            "sentinel failover-timeout leader 2000\n"
            f"sentinel known-replica leader 127.0.0.1 {follower.port}\n"
        )
        with running([redis_server(), config, "--sentinel"]) as child:
            child.wait_for_output("monitor master leader")
            yield RedisServer(port, child)


def _cluster_options(bus: int) -> tuple[str, ...]:
    return (
        *("--cluster-enabled", "yes", "--cluster-port", str(bus)),
        *("--cluster-node-timeout", "2000", "--cluster-require-full-coverage", "no"),
    )


def _sees(server: RedisServer, size: int) -> bool:
    said = server.say("CLUSTER", "INFO")
    return "cluster_state:ok" in said and f"cluster_known_nodes:{size}" in said


def _followed(leader: RedisServer) -> bool:
    return "online" in leader.say("INFO", "replication")
