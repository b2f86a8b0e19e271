"""What the recovery benchmark measures of a server, and how it is shown."""

from dataclasses import dataclass

from bench.harness.report import Row


@dataclass(frozen=True, slots=True)
class Figures:
    """What one trial gives, for clients that had received an event before they were cut off, and for others.

    ``recovered`` is in percent; the others of a storm are None unless it is 100: the time in which
    some were recovered is no time to compare. ``client_share`` is the clients' share of their core.
    """

    recovered: float
    seconds: float | None
    server_cpu_s: float | None
    client_share: float | None
    quiet_recovered: float
    quiet_seconds: float | None


ROWS = (
    Row("recovered", "after an event: recovered, %", ",.1f", higher_is_better=True),
    Row("seconds", "  until all are whole, s", ",.3f", higher_is_better=False),
    Row("server_cpu_s", "  server CPU, s", ",.2f", higher_is_better=False),
    Row("client_share", "  clients' share of their core, %", ",.0f", higher_is_better=None),
    Row("quiet_recovered", "before any event: recovered, %", ",.1f", higher_is_better=True),
    Row("quiet_seconds", "  until all are whole, s", ",.3f", higher_is_better=False),
)
