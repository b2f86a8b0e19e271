"""What trials say: medians, ratios, a table for people and a document for machines. Measures nothing."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

Figures = Mapping[str, float | None]
"""By name; None is a figure that there is not, because what it would measure did not happen."""


class Trial(NamedTuple):
    """What one server gave in one round."""

    version: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Row:
    """How one figure is shown. ``higher_is_better`` None: it says nothing about the server, and has no ratio."""

    field: str
    title: str
    form: str
    higher_is_better: bool | None


@dataclass(frozen=True, slots=True)
class Report:
    """``about`` says in a line what was done, ``plan`` the same for machines. The first server is compared."""

    benchmark: str
    about: str
    plan: Mapping[str, object]
    rows: Sequence[Row]
    trials: Mapping[str, Sequence[Trial]]

    def medians(self, name: str) -> dict[str, float | None]:
        """The median of each figure over a server's rounds; None if it is missing in one of them."""
        return {
            row.field: _median([trial.figures[row.field] for trial in self.trials[name]]) for row in self.rows
        }

    def table(self) -> str:
        """Medians of every server side by side, then how many times better the first is than each other one."""
        first, *others = self.trials
        middle = {name: self.medians(name) for name in self.trials}
        lines = [["", *self.trials, *(f"{first} : {other}" for other in others)]]
        for row in self.rows:
            ratios = [advantage(row, middle[first], middle[other]) for other in others]
            values = [_shown(middle[name][row.field], row.form) for name in self.trials]
            lines.append([row.title, *values, *(_shown(ratio, ".2f", "x") for ratio in ratios)])
        rounds = len(self.trials[first])
        about = f"{self.about}; medians of {rounds} rounds; 2x is twice as good"
        versions = [f"{name}: {trials[0].version}" for name, trials in self.trials.items()]
        return "\n".join([f"{self.benchmark}: {about}", *versions, "", *_aligned(lines)])

    def document(self) -> dict[str, Any]:
        """Everything: the plan, the machine, each round, the medians and the first server's advantages."""
        first, *others = self.trials
        middle = {name: self.medians(name) for name in self.trials}
        return {
            "benchmark": self.benchmark,
            "plan": {_camel(name): value for name, value in self.plan.items()},
            "machine": machine(),
            "servers": [
                {
                    "name": name,
                    "version": trials[0].version,
                    "median": _rounded(middle[name]),
                    "rounds": [_rounded(trial.figures) for trial in trials],
                }
                for name, trials in self.trials.items()
            ],
            "advantage": {
                other: _rounded(
                    {row.field: advantage(row, middle[first], middle[other]) for row in self.rows}
                )
                for other in others
            },
        }


def advantage(row: Row, first: Figures, other: Figures) -> float | None:
    """How many times better the first is; below 1 it is worse. None where the figures have no ratio."""
    a, b = first[row.field], other[row.field]
    if row.higher_is_better is None or a is None or b is None or a <= 0 or b <= 0:
        return None
    return a / b if row.higher_is_better else b / a


def machine() -> dict[str, Any]:
    """What the figures depend on that the benchmark does not choose."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "loadAverage": os.getloadavg()[0],
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _median(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return median(there) if len(there) == len(values) else None


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else format(value, form) + unit


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if index else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    ]


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _rounded(figures: Figures) -> dict[str, float | None]:
    return {_camel(name): None if value is None else round(value, 3) for name, value in figures.items()}


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word.capitalize() for word in rest)
