"""One trial: two nodes on one Redis, one that publishes and one that all clients are connected to."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import Redis

from bench.fanout.receiver import Latency, Receiver, receiving
from bench.harness.process import BenchmarkError
from bench.harness.report import Trial
from bench.harness.run import Rig
from bench.harness.servers import RunningServer, Server, serving
from bench.nodes.figures import BURST, Figures
from bench.nodes.redis_server import redis_server, url_of

WARM_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` is the length of each run; latency is measured at ``rate`` messages/s with ``listeners`` clients."""

    connections: int
    rounds: int
    seconds: float
    rate: float
    listeners: int


@dataclass(frozen=True, slots=True)
class Contender:
    """``make`` gives a node's server, from the address of Redis and a folder that both nodes share.

    ``tenants``: whether it knows tenants and event streams, so that ``tenancy`` can be measured.
    """

    name: str
    make: Callable[[str, Path], Server]
    tenants: bool = False


@dataclass(frozen=True, slots=True)
class Pair:
    """The two nodes, whose clients are ``receiver``'s, and their Redis."""

    publisher: RunningServer
    hearer: RunningServer
    receiver: Receiver
    redis: Redis
    idle: int
    """Connections that Redis had before the nodes came."""


async def measure(contender: Contender, plan: Plan, rig: Rig, program: Path) -> Trial:
    """Run one trial. The node with the clients has a core of its own; the other, Redis and the clients share one.

    Raises:
        BenchmarkError: a program failed, or a message was lost or doubled.
    """
    async with _pair(contender, rig, program) as pair:
        await pair.receiver.connect(plan.listeners)
        await _throughput(pair, plan.listeners, seconds=WARM_UP_SECONDS, burst=1)
        latency = await _latency(pair, plan)
        await pair.receiver.connect(plan.connections - plan.listeners)
        await _throughput(pair, plan.connections, seconds=WARM_UP_SECONDS, burst=1)
        single = await _throughput(pair, plan.connections, seconds=plan.seconds, burst=1)
        bursts = await _throughput(pair, plan.connections, seconds=plan.seconds, burst=BURST)
        connections = await _connections(pair.redis) - pair.idle
        await pair.receiver.close()
        figures = Figures(
            deliveries_per_second=single.per_second,
            burst_deliveries_per_second=bursts.per_second,
            cpu_us_per_delivery=single.cpu_us,
            publisher_cpu_us=single.publisher_us,
            latency_p50_ms=latency.p50 * 1000,
            latency_p99_ms=latency.p99 * 1000,
            redis_connections=connections / 2,
        )
        return Trial(pair.hearer.serving.version, asdict(figures))


async def latency_at(contender: Contender, plan: Plan, rig: Rig, program: Path) -> Latency:
    """The latency alone, at the plan's rate.

    Raises:
        BenchmarkError: as ``measure``.
    """
    async with _pair(contender, rig, program) as pair:
        await pair.receiver.connect(plan.listeners)
        await _throughput(pair, plan.listeners, seconds=WARM_UP_SECONDS, burst=1)
        return await _latency(pair, plan)


@dataclass(frozen=True, slots=True)
class _Throughput:
    per_second: float
    cpu_us: float
    publisher_us: float


@contextlib.asynccontextmanager
async def _pair(contender: Contender, rig: Rig, program: Path) -> AsyncIterator[Pair]:
    with TemporaryDirectory(dir=rig.folder) as name:
        async with redis_server(Path(name), cpu=rig.client_cpu) as redis:
            idle = await _connections(redis)
            server = contender.make(url_of(redis), Path(name))
            async with (
                serving(server, cpu=rig.client_cpu, folder=rig.folder) as publisher,
                serving(server, cpu=rig.server_cpu, folder=rig.folder) as hearer,
                receiving(
                    program,
                    port=hearer.serving.port,
                    tokens=hearer.serving.tokens,
                    ack_fd=publisher.ack_fd,
                    cpu=rig.client_cpu,
                ) as receiver,
            ):
                yield Pair(publisher, hearer, receiver, redis, idle)


async def _connections(redis: Redis) -> int:
    return len(await redis.client_list())


async def _throughput(pair: Pair, connections: int, *, seconds: float, burst: int) -> _Throughput:
    """From the first emit until the last connection has received the last message."""
    await pair.receiver.begin()
    used, published = pair.hearer.cpu_seconds(), pair.publisher.cpu_seconds()
    emitted = await pair.publisher.emit(seconds=seconds, burst=burst)
    last = await pair.receiver.received(emitted.count)
    used, published = pair.hearer.cpu_seconds() - used, pair.publisher.cpu_seconds() - published
    deliveries = emitted.count * connections
    return _Throughput(
        deliveries * 1e9 / (last - emitted.started), used * 1e6 / deliveries, published * 1e6 / emitted.count
    )


async def _latency(pair: Pair, plan: Plan) -> Latency:
    """Over every delivery of a run at the plan's rate."""
    count = round(plan.seconds * plan.rate)
    await pair.receiver.begin(time_every=1)
    await pair.publisher.pace(count=count, interval=1 / plan.rate)
    await pair.receiver.received(count)
    latency = await pair.receiver.latency()
    if latency.count != count * plan.listeners:
        raise BenchmarkError(f"{latency.count} of {count * plan.listeners} deliveries were timed")
    return latency
