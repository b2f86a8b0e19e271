"""What the jobs benchmark measures, and how it is shown."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles

from bench.harness.report import Row


@dataclass(frozen=True, slots=True)
class Figures:
    """What one trial gives. Times are in milliseconds; None where a server has nothing of the kind.

    ``cpu_ms`` is the processor time of the worker process for each job of the full-speed run.
    """

    start_p50: float
    start_p99: float
    jobs_per_second: float
    cpu_ms: float
    event_p50: float | None
    event_p99: float | None


ROWS = (
    Row("start_p50", "handed in to first line of the handler, p50, ms", ",.2f", higher_is_better=False),
    Row("start_p99", "  p99, ms", ",.2f", higher_is_better=False),
    Row("jobs_per_second", "no-op jobs/s of one worker process", ",.0f", higher_is_better=True),
    Row("cpu_ms", "  worker CPU each, ms", ",.3f", higher_is_better=False),
    Row("event_p50", "progress to SSE client, p50, ms", ",.2f", higher_is_better=False),
    Row("event_p99", "  p99, ms", ",.2f", higher_is_better=False),
)


def percentiles(milliseconds: Sequence[float]) -> tuple[float, float]:
    """The 50th and the 99th."""
    cuts = quantiles(milliseconds, n=100, method="inclusive")
    return cuts[49], cuts[98]
