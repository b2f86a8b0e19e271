"""Workers that give each other connections, in this process: the server of ``front_rig``, several times.

Each listens on a port of its own, so that a test says where a connection begins.
"""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from tests.support.front_rig import LIMITS, Rig, until
from tidings import metrics
from tidings.domain.crew import Crew
from tidings.transports.handover import Handover
from tidings.transports.site import Limits


@contextmanager
def crew_directory() -> Iterator[Path]:
    """A private directory whose path is short enough for Unix sockets, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="crew-") as directory:
        yield Path(directory)


def handover_of(rig: Rig) -> Handover:
    assert rig.handover is not None
    return rig.handover


@asynccontextmanager
async def crewed(limits: Limits = LIMITS, count: int = 2) -> AsyncIterator[list[Rig]]:
    """So many workers; at the end all of their connections have to be over."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(crew_directory())
        rigs = [Rig(limits, Crew(number, count, directory)) for number in range(count)]
        for rig in rigs:
            await stack.enter_async_context(rig.listening())
            handover_of(rig).listen(rig.inherit)
            stack.push_async_callback(handover_of(rig).close)
        yield rigs
        await until(lambda: not any(rig.connections for rig in rigs))


def handled(outcome: str) -> float:
    """How many connections have met with that so far."""
    return metrics.REGISTRY.get_sample_value("tidings_handovers_total", {"outcome": outcome}) or 0.0


def descriptors() -> int:
    """How many this process has open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
