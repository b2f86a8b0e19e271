"""What is measured of two nodes on one Redis, and how it is shown."""

from dataclasses import dataclass

from bench.harness.report import Row

BURST = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """What one trial gives: everything is published at one node and received at the other.

    ``cpu_us_per_delivery`` is the receiving node's, in the run message by message; ``publisher_cpu_us`` the
    publishing node's for each message of that run; ``redis_connections`` how many a node holds.
    """

    deliveries_per_second: float
    burst_deliveries_per_second: float
    cpu_us_per_delivery: float
    publisher_cpu_us: float
    latency_p50_ms: float
    latency_p99_ms: float
    redis_connections: float


ROWS = (
    Row("deliveries_per_second", "deliveries/s, message by message", ",.0f", higher_is_better=True),
    Row("burst_deliveries_per_second", f"deliveries/s, bursts of {BURST}", ",.0f", higher_is_better=True),
    Row("cpu_us_per_delivery", "  receiving node's CPU each, us", ",.2f", higher_is_better=False),
    Row("publisher_cpu_us", "publishing node's CPU a message, us", ",.1f", higher_is_better=False),
    Row("latency_p50_ms", "latency p50, ms", ",.2f", higher_is_better=False),
    Row("latency_p99_ms", "latency p99, ms", ",.2f", higher_is_better=False),
    Row("redis_connections", "connections to Redis a node", ",.0f", higher_is_better=False),
)
