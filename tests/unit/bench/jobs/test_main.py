"""The whole benchmark, small."""

import json

import pytest

from bench.jobs.__main__ import main


def test_a_small_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Each figure is there, of both ways to run Tidings."""
    small = ["--jobs", "100", "--starts", "8", "--events", "5", "--rounds", "1", "--json"]
    assert main(["--servers", "Tidings", "embedded", *small]) == 0
    servers = json.loads(capsys.readouterr().out)["servers"]
    assert [server["name"] for server in servers] == ["Tidings", "embedded"]
    for server in servers:
        assert all(figure > 0 for figure in server["median"].values())
