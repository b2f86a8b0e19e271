"""``python -m bench``."""

from collections.abc import Sequence

import pytest

from bench import __main__ as bench


def test_every_benchmark_runs_with_the_same_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be done does not keep the others from running, and is not forgotten."""
    given: list[Sequence[str] | None] = []

    def benchmark(arguments: Sequence[str] | None = None) -> int:
        given.append(arguments)
        return 1 if len(given) == 1 else 0

    monkeypatch.setattr(bench, "BENCHMARKS", (benchmark, benchmark))
    assert bench.main(["--rounds", "2", "--json"]) == 1
    assert given == [["--rounds", "2", "--connections", "1000", "--json"]] * 2


def test_there_is_each() -> None:
    """What ``make bench`` promises."""
    names = [benchmark.__module__.split(".")[1] for benchmark in bench.BENCHMARKS]
    assert names == ["fanout", "connect", "recover", "nodes", "jobs"]
