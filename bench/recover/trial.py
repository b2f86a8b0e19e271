"""One trial: clients of a server are cut off, miss some events, and come back; twice, in fresh processes."""

from dataclasses import asdict, dataclass
from pathlib import Path

from bench.harness.report import Trial
from bench.harness.run import Rig
from bench.harness.servers import RunningServer, Server, serving
from bench.recover.figures import Figures
from bench.recover.returner import Returned, Returner, returning


@dataclass(frozen=True, slots=True)
class Plan:
    """``missed`` is how many events each client misses."""

    connections: int
    rounds: int
    missed: int


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a storm gave; the server's processor time is from the first connect() until all were whole."""

    version: str
    returned: Returned
    server_cpu_seconds: float


async def measure(server: Server, plan: Plan, rig: Rig, program: Path) -> Trial:
    """Run one trial.

    Raises:
        BenchmarkError: the server or one of its clients failed, or an event came out of order or twice.
    """
    after_event = await _recovery(server, plan, rig, program, heard_before=1)
    before_any = await _recovery(server, plan, rig, program, heard_before=0)
    heard, quiet = after_event.returned, before_any.returned
    complete = heard.recovered == heard.clients
    figures = Figures(
        recovered=100 * heard.recovered / heard.clients,
        seconds=heard.seconds if complete else None,
        server_cpu_s=after_event.server_cpu_seconds if complete else None,
        client_share=100 * heard.cpu_seconds / heard.seconds if complete else None,
        quiet_recovered=100 * quiet.recovered / quiet.clients,
        quiet_seconds=quiet.seconds if quiet.recovered == quiet.clients else None,
    )
    return Trial(after_event.version, asdict(figures))


async def _recovery(server: Server, plan: Plan, rig: Rig, program: Path, *, heard_before: int) -> Recovery:
    """The second of two storms in one process; the first warms the server up."""
    async with (
        serving(server, cpu=rig.server_cpu, folder=rig.folder) as running,
        returning(
            program, port=running.serving.port, tokens=running.serving.tokens, cpu=rig.client_cpu
        ) as returner,
    ):
        await _storm(running, returner, plan, heard_before)
        return await _storm(running, returner, plan, heard_before)


async def _storm(running: RunningServer, returner: Returner, plan: Plan, heard_before: int) -> Recovery:
    """New clients, who hear so many events, are cut off, miss theirs while the server is at rest, and return."""
    await returner.connect(plan.connections)
    if heard_before:
        await running.pace(count=heard_before, interval=0)
        await returner.received(heard_before)
    await returner.cut()
    await running.quiet()
    await running.pace(count=plan.missed, interval=0)
    await running.quiet()
    used = running.cpu_seconds()
    returned = await returner.come_back(plan.missed)
    used = running.cpu_seconds() - used
    # Whatever would come twice has come by now, and the clients would have given up.
    await running.quiet()
    await returner.close()
    return Recovery(running.serving.version, returned, used)
