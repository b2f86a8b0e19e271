"""One trial: a server's handshakes and idle clients, over each transport in a fresh process of its own.

A process that has held a thousand clients keeps some of their memory; hence one for each transport.
"""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.connect.connector import Connector, Transport, connecting
from bench.connect.figures import Figures
from bench.harness.report import Trial
from bench.harness.run import Rig
from bench.harness.servers import RunningServer, Server, serving

CYCLES = 3


@dataclass(frozen=True, slots=True)
class Plan:
    connections: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Handshakes:
    """How many a second, what each costs the server, and how busy the clients were (percent of a core)."""

    per_second: float
    cpu_ms: float
    client_share: float


async def measure(server: Server, plan: Plan, rig: Rig, program: Path) -> Trial:
    """Run one trial, or raise BenchmarkError: the server or one of its clients failed."""
    async with _met(server, rig, program, Transport.WEBSOCKET) as (running, connector):
        websocket_bytes = await _memory(running, connector, plan)
        websocket = await _handshakes(running, connector, plan)
    async with _met(server, rig, program, Transport.POLLING) as (running, connector):
        polling_bytes = await _memory(running, connector, plan)
    async with _met(server, rig, program, Transport.UPGRADE) as (running, connector):
        upgraded_bytes = await _memory(running, connector, plan)
        upgrade = await _handshakes(running, connector, plan)
        version = running.serving.version
    figures = Figures(
        websocket_handshakes_per_second=websocket.per_second,
        websocket_cpu_ms=websocket.cpu_ms,
        websocket_client_share=websocket.client_share,
        upgrade_handshakes_per_second=upgrade.per_second,
        upgrade_cpu_ms=upgrade.cpu_ms,
        upgrade_client_share=upgrade.client_share,
        websocket_bytes=websocket_bytes,
        polling_bytes=polling_bytes,
        upgraded_bytes=upgraded_bytes,
        polling_cost=polling_bytes / websocket_bytes if websocket_bytes > 0 else None,
    )
    return Trial(version, asdict(figures))


@contextlib.asynccontextmanager
async def _met(
    server: Server, rig: Rig, program: Path, transport: Transport
) -> AsyncIterator[tuple[RunningServer, Connector]]:
    """A fresh server and its clients, none of which is connected yet."""
    async with (
        serving(server, cpu=rig.server_cpu, folder=rig.folder) as running,
        connecting(
            program,
            port=running.serving.port,
            tokens=running.serving.tokens,
            transport=transport,
            cpu=rig.client_cpu,
        ) as connector,
    ):
        yield running, connector


async def _memory(running: RunningServer, connector: Connector, plan: Plan) -> float:
    """Bytes a client: what the last third of them costs.

    A heap first grows to what its collector likes to have, which is nobody's memory per client.
    """
    await connector.connect(2 * plan.connections)
    before = await running.quiet_memory()
    await connector.connect(plan.connections)
    return (await running.quiet_memory() - before) / plan.connections


async def _handshakes(running: RunningServer, connector: Connector, plan: Plan) -> Handshakes:
    """Over a few cycles of connecting, by a server that is warm and begins each of them at rest.

    Its processor time is taken when it is at rest again: what it has put off, its log, belongs to the handshakes.
    """
    seconds = server_cpu = client_cpu = 0.0
    for _ in range(CYCLES):
        await connector.close()
        await running.quiet()
        used = running.cpu_seconds()
        took = await connector.connect(plan.connections)
        await running.quiet()
        server_cpu += running.cpu_seconds() - used
        seconds += took.seconds
        client_cpu += took.cpu_seconds
    count = CYCLES * plan.connections
    return Handshakes(count / seconds, server_cpu * 1000 / count, client_cpu * 100 / seconds)
