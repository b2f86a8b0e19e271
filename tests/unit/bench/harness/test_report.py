"""The benchmarks' report."""

import json
from collections.abc import Sequence

from bench.harness.report import Report, Row, Trial, advantage

RATE = Row("per_second", "deliveries/s", ",.0f", higher_is_better=True)
BYTES = Row("bytes_each", "memory, bytes", ",.0f", higher_is_better=False)
SHARE = Row("share", "clients' share", ",.0f", higher_is_better=None)


def trial(rate: float | None, size: float = 1000.0) -> Trial:
    return Trial("v1", {"per_second": rate, "bytes_each": size, "share": 20.0})


def report(**trials: Sequence[Trial]) -> Report:
    return Report("fanout", "5 connections", {"payload_bytes": 150}, (RATE, BYTES, SHARE), trials)


def test_the_median_is_taken_figure_by_figure() -> None:
    """One disturbed round does not show in the medians."""
    middle = report(a=[trial(100, 30), trial(1, 10), trial(120, 20)]).medians("a")
    assert middle["per_second"] == 100
    assert middle["bytes_each"] == 20


def test_a_figure_that_is_missing_in_a_round_is_missing() -> None:
    """The rounds in which it went well say nothing about the one in which it did not."""
    assert report(a=[trial(100), trial(None), trial(100)]).medians("a")["per_second"] is None


def test_an_advantage_above_one_is_always_better() -> None:
    """Twice the rate and half the memory are both 2x; what says nothing of the server has none."""
    first, other = trial(200, 500).figures, trial(100, 1000).figures
    assert advantage(RATE, first, other) == 2
    assert advantage(BYTES, first, other) == 2
    assert advantage(SHARE, first, other) is None


def test_a_figure_that_is_not_positive_has_no_ratio() -> None:
    """A server whose memory shrank is not infinitely better, and one that never finished is not worse."""
    found = report(a=[trial(200, -10)], b=[trial(None, 1000)])
    assert found.document()["advantage"]["b"] == {"perSecond": None, "bytesEach": None, "share": None}
    rate, memory, _ = found.table().splitlines()[-3:]
    assert rate.split()[-3:] == ["200", "-", "-"]
    assert memory.split()[-3:] == ["-10", "1,000", "-"]


def test_the_document_is_json_and_holds_every_round() -> None:
    """Whoever doubts a median can see the rounds it came from."""
    found = report(a=[trial(1), trial(2), trial(3)], b=[trial(4), trial(5), trial(6)])
    read = json.loads(json.dumps(found.document()))
    assert read["benchmark"] == "fanout"
    assert [server["name"] for server in read["servers"]] == ["a", "b"]
    assert [figures["perSecond"] for figures in read["servers"][0]["rounds"]] == [1, 2, 3]
    assert read["servers"][0]["median"]["perSecond"] == 2
    assert read["plan"] == {"payloadBytes": 150}


def test_the_table_has_a_column_for_each_server_and_each_ratio() -> None:
    """All rows are of one width, so that columns stand under their names."""
    lines = report(a=[trial(200)], b=[trial(100)], c=[trial(50)]).table().splitlines()[-4:]
    assert lines[0].split("  ")[-2:] == ["a : b", "a : c"]
    assert lines[1].split()[-2:] == ["2.00x", "4.00x"]
    assert len({len(line) for line in lines}) == 1
