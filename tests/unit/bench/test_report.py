"""The benchmark's report."""

import json

from bench.fanout.report import ROWS, advantage, document, medians, table
from bench.fanout.trial import Figures, Plan, Trial

PLAN = Plan(connections=1000, rounds=3, seconds=3.0, rate=5.0)


def trial(rate: float, memory: float = 1000.0) -> Trial:
    return Trial("v1", Figures(rate, 2 * rate, 5.0, 1.0, 2.0, memory, 500.0))


def test_the_median_is_taken_figure_by_figure() -> None:
    """One disturbed round does not show in the medians."""
    middle = medians([trial(100, 30), trial(1, 10), trial(120, 20)])
    assert middle["deliveries_per_second"] == 100
    assert middle["bytes_per_connection"] == 20


def test_an_advantage_above_one_is_always_better() -> None:
    """Twice the rate and half the memory are both 2x."""
    first, other = medians([trial(200, 500)]), medians([trial(100, 1000)])
    ratios = {row.field: advantage(row, first, other) for row in ROWS}
    assert ratios["deliveries_per_second"] == 2
    assert ratios["bytes_per_connection"] == 2
    assert ratios["handshakes_per_second"] == 1


def test_a_figure_that_is_not_positive_has_no_ratio() -> None:
    """A server whose memory shrank is not infinitely better."""
    results = {"a": [trial(200, -10)], "b": [trial(100, 1000)]}
    assert document(results, PLAN)["advantage"]["b"]["bytesPerConnection"] is None
    memory = next(line for line in table(results, PLAN).splitlines() if line.startswith("memory"))
    assert memory.split()[-3:] == ["-10", "1,000", "-"]


def test_the_document_is_json_and_holds_every_round() -> None:
    """Whoever doubts a median can see the rounds it came from."""
    results = {"a": [trial(1), trial(2), trial(3)], "b": [trial(4), trial(5), trial(6)]}
    read = json.loads(json.dumps(document(results, PLAN)))
    assert [server["name"] for server in read["servers"]] == ["a", "b"]
    assert [figures["deliveriesPerSecond"] for figures in read["servers"][0]["rounds"]] == [1, 2, 3]
    assert read["servers"][0]["median"]["deliveriesPerSecond"] == 2
    assert read["plan"]["payloadBytes"] == 150


def test_the_table_has_a_column_for_each_server_and_each_ratio() -> None:
    """All rows are of one width, so that columns stand under their names."""
    results = {"a": [trial(200)], "b": [trial(100)], "c": [trial(50)]}
    lines = table(results, PLAN).splitlines()[-len(ROWS) - 1 :]
    assert lines[0].split("  ")[-2:] == ["a : b", "a : c"]
    assert lines[1].split()[-2:] == ["2.00x", "4.00x"]
    assert len({len(line) for line in lines}) == 1
