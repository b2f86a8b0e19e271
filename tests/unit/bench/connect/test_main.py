"""The whole benchmark, small."""

import json

import pytest

from bench.connect.__main__ import main


def test_a_small_run_measures_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Every client gets in over every transport, and every figure of the document is there."""
    assert main(["--servers", "Tidings", "--connections", "50", "--rounds", "1", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["plan"] == {"connections": 50, "rounds": 1, "cycles": 3}
    (server,) = document["servers"]
    figures = server["median"]
    assert figures.keys() >= {"websocketBytes", "pollingBytes", "upgradedBytes", "pollingCost"}
    assert figures["websocketHandshakesPerSecond"] > 0
    assert figures["upgradeHandshakesPerSecond"] > 0
