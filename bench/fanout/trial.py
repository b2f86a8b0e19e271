"""One trial: everything that is measured of one server, in a fresh process, with a fresh receiver."""

from dataclasses import asdict, dataclass
from pathlib import Path

from bench.fanout.figures import BURST, Figures
from bench.fanout.receiver import Latency, Receiver, receiving
from bench.harness.process import BenchmarkError
from bench.harness.report import Trial
from bench.harness.run import Rig
from bench.harness.servers import RunningServer, Server, serving

HANDSHAKE_CYCLES = 2
WARM_UP_CONNECTIONS = 16
WARM_UP_SECONDS = 0.5
FEWEST_PACED = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """``seconds`` is the length of each run; ``rate`` the messages/s at which latency is measured."""

    connections: int
    rounds: int
    seconds: float
    rate: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Deliveries a second, and microseconds of the server's processor time for each."""

    per_second: float
    cpu_us: float


async def measure(server: Server, plan: Plan, rig: Rig, program: Path) -> Trial:
    """Run one trial.

    Raises:
        BenchmarkError: the server or the receiver failed, or a message was lost or doubled.
    """
    async with (
        serving(server, cpu=rig.server_cpu, folder=rig.folder) as running,
        receiving(
            program,
            port=running.serving.port,
            tokens=running.serving.tokens,
            ack_fd=running.ack_fd,
            cpu=rig.client_cpu,
        ) as receiver,
    ):
        memory = await _memory(running, receiver, plan)
        handshakes = await _handshakes(receiver, plan)
        await _throughput(running, receiver, plan.connections, seconds=WARM_UP_SECONDS, burst=1)
        single = await _throughput(running, receiver, plan.connections, seconds=plan.seconds, burst=1)
        bursts = await _throughput(running, receiver, plan.connections, seconds=plan.seconds, burst=BURST)
        latency = await _latency(running, receiver, plan)
        await receiver.close()
        figures = Figures(
            deliveries_per_second=single.per_second,
            burst_deliveries_per_second=bursts.per_second,
            cpu_us_per_delivery=single.cpu_us,
            latency_p50_ms=latency.p50 * 1000,
            latency_p99_ms=latency.p99 * 1000,
            bytes_per_connection=memory,
            handshakes_per_second=handshakes,
        )
        return Trial(running.serving.version, asdict(figures))


async def _memory(running: RunningServer, receiver: Receiver, plan: Plan) -> float:
    """Bytes a connection: the server with all of them, quiet, less the same server warm and empty."""
    await receiver.connect(WARM_UP_CONNECTIONS)
    await _throughput(running, receiver, WARM_UP_CONNECTIONS, seconds=WARM_UP_SECONDS, burst=1)
    await receiver.close()
    empty = await running.quiet_memory()
    await receiver.connect(plan.connections)
    full = await running.quiet_memory()
    await receiver.close()
    return (full - empty) / plan.connections


async def _handshakes(receiver: Receiver, plan: Plan) -> float:
    """Handshakes a second; the connections of the last cycle stay."""
    seconds = await receiver.connect(plan.connections)
    for _ in range(HANDSHAKE_CYCLES - 1):
        await receiver.close()
        seconds += await receiver.connect(plan.connections)
    return HANDSHAKE_CYCLES * plan.connections / seconds


async def _throughput(
    running: RunningServer, receiver: Receiver, connections: int, *, seconds: float, burst: int
) -> Throughput:
    """From the first emit until the last connection has received the last message."""
    await receiver.begin()
    used = running.cpu_seconds()
    emitted = await running.emit(seconds=seconds, burst=burst)
    last = await receiver.received(emitted.count)
    used = running.cpu_seconds() - used
    deliveries = emitted.count * connections
    return Throughput(deliveries * 1e9 / (last - emitted.started), used * 1e6 / deliveries)


async def _latency(running: RunningServer, receiver: Receiver, plan: Plan) -> Latency:
    """Over every delivery of a run at the plan's rate."""
    count = max(FEWEST_PACED, round(plan.seconds * plan.rate))
    await receiver.begin(time_every=1)
    await running.pace(count=count, interval=1 / plan.rate)
    await receiver.received(count)
    latency = await receiver.latency()
    if latency.count != count * plan.connections:
        raise BenchmarkError(f"{latency.count} of {count * plan.connections} deliveries were timed")
    return latency
