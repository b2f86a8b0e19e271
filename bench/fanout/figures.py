"""What the fan-out benchmark measures of a server, and how it is shown."""

from dataclasses import dataclass

from bench.harness.report import Row

BURST = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """What one trial gives.

    Latency is from emit to receipt. ``cpu_us_per_delivery`` is the processor time of the server in the run
    message by message, which says much the same as deliveries/s but suffers less from a busy machine.
    """

    deliveries_per_second: float
    burst_deliveries_per_second: float
    cpu_us_per_delivery: float
    latency_p50_ms: float
    latency_p99_ms: float
    bytes_per_connection: float
    handshakes_per_second: float


ROWS = (
    Row("deliveries_per_second", "deliveries/s, message by message", ",.0f", higher_is_better=True),
    Row("burst_deliveries_per_second", f"deliveries/s, bursts of {BURST}", ",.0f", higher_is_better=True),
    Row("cpu_us_per_delivery", "server CPU per delivery, us", ",.2f", higher_is_better=False),
    Row("latency_p50_ms", "latency p50, ms", ",.2f", higher_is_better=False),
    Row("latency_p99_ms", "latency p99, ms", ",.2f", higher_is_better=False),
    Row("bytes_per_connection", "memory per connection, bytes", ",.0f", higher_is_better=False),
    Row("handshakes_per_second", "handshakes/s", ",.0f", higher_is_better=True),
)
