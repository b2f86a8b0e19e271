"""What the trials say: medians, ratios, a table for people and a document for machines. Measures nothing."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.fanout.emitter import PAYLOAD_BYTES
from bench.fanout.trial import BURST, Plan, Trial


@dataclass(frozen=True, slots=True)
class Row:
    """How one figure is shown: ``field`` is its name in Figures."""

    field: str
    title: str
    form: str
    higher_is_better: bool


ROWS = (
    Row("deliveries_per_second", "deliveries/s, message by message", ",.0f", higher_is_better=True),
    Row("burst_deliveries_per_second", f"deliveries/s, bursts of {BURST}", ",.0f", higher_is_better=True),
    Row("cpu_us_per_delivery", "server CPU per delivery, us", ",.2f", higher_is_better=False),
    Row("latency_p50_ms", "latency p50, ms", ",.2f", higher_is_better=False),
    Row("latency_p99_ms", "latency p99, ms", ",.2f", higher_is_better=False),
    Row("bytes_per_connection", "memory per connection, bytes", ",.0f", higher_is_better=False),
    Row("handshakes_per_second", "handshakes/s", ",.0f", higher_is_better=True),
)


def medians(trials: Sequence[Trial]) -> dict[str, float]:
    """The median of each figure over the rounds."""
    return {row.field: median(getattr(trial.figures, row.field) for trial in trials) for row in ROWS}


def advantage(row: Row, first: Mapping[str, float], other: Mapping[str, float]) -> float | None:
    """How many times better the first is; below 1 it is worse. None where the figure has no ratio."""
    a, b = first[row.field], other[row.field]
    if a <= 0 or b <= 0:
        return None
    return a / b if row.higher_is_better else b / a


def table(results: Mapping[str, Sequence[Trial]], plan: Plan) -> str:
    """Medians of every server side by side, then how many times better the first is than each of the others."""
    names = list(results)
    middle = {name: medians(trials) for name, trials in results.items()}
    first, *others = names
    lines = [["", *names, *(f"{first} : {other}" for other in others)]]
    for row in ROWS:
        ratios = [advantage(row, middle[first], middle[other]) for other in others]
        values = [format(middle[name][row.field], row.form) for name in names]
        lines.append([row.title, *values, *("-" if ratio is None else f"{ratio:.2f}x" for ratio in ratios)])
    about = (
        f"{plan.connections} connections, {PAYLOAD_BYTES}-byte payload, {plan.rounds} rounds of {plan.seconds:g} s "
        f"each, latency at {plan.rate:g} messages/s; medians; 2x is twice as good"
    )
    versions = [f"{name}: {trials[0].version}" for name, trials in results.items()]
    return "\n".join([about, *versions, "", *_aligned(lines)])


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def document(results: Mapping[str, Sequence[Trial]], plan: Plan) -> dict[str, Any]:
    """Everything: the plan, the machine, each round, the medians and the advantages of the first server."""
    middle = {name: medians(trials) for name, trials in results.items()}
    first, *others = results
    return {
        "benchmark": "fanout",
        "plan": {**asdict(plan), "payloadBytes": PAYLOAD_BYTES, "burst": BURST},
        "machine": machine(),
        "servers": [
            {
                "name": name,
                "version": trials[0].version,
                "median": _camel(middle[name]),
                "rounds": [_camel(asdict(trial.figures)) for trial in trials],
            }
            for name, trials in results.items()
        ],
        "advantage": {
            other: _camel({row.field: advantage(row, middle[first], middle[other]) for row in ROWS})
            for other in others
        },
    }


def machine() -> dict[str, Any]:
    """What the figures depend on that the benchmark does not choose."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "loadAverage": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _camel(figures: Mapping[str, float | None]) -> dict[str, float | None]:
    def renamed(field: str) -> str:
        head, *rest = field.split("_")
        return head + "".join(word.capitalize() for word in rest)

    return {renamed(field): None if value is None else round(value, 3) for field, value in figures.items()}
