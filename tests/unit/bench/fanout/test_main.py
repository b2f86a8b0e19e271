"""The whole benchmark, small."""

import json
import os

import pytest

from bench.fanout.__main__ import main


def test_a_small_run_measures_everything(capsys: pytest.CaptureFixture[str]) -> None:
    """Every figure of the document is there, and the process keeps the cores it had."""
    cores = os.sched_getaffinity(0)
    options = "--servers python-socketio --connections 20 --rounds 1 --seconds 0.2 --rate 100 --json"
    assert main(options.split()) == 0
    (server,) = json.loads(capsys.readouterr().out)["servers"]
    assert server["name"] == "python-socketio"
    assert all(value > 0 for value in server["median"].values())
    assert os.sched_getaffinity(0) == cores
