"""The whole benchmark, small."""

import json

import pytest

from bench.nodes.__main__ import main

SMALL = ("--connections", "20", "--listeners", "2", "--rounds", "1", "--seconds", "0.3", "--rate", "100")


def test_a_small_run_reaches_the_other_node(capsys: pytest.CaptureFixture[str]) -> None:
    """Both contenders deliver across nodes; "Redis connections per process <= 4" (contract, section 10)."""
    assert main([*SMALL, "--posts", "60", "--json"]) == 0
    ours, theirs = json.loads(capsys.readouterr().out)["servers"]
    assert (ours["name"], theirs["name"]) == ("Tidings", "socket.io")
    for server in (ours, theirs):
        figures = server["median"]
        assert figures["deliveriesPerSecond"] > 0
        assert 0 < figures["latencyP50Ms"] <= figures["latencyP99Ms"]
    assert ours["median"]["redisConnections"] <= 4
    _holds_what_is_promised(ours["median"])
    assert theirs["median"]["told"] is None


def _holds_what_is_promised(figures: dict[str, float]) -> None:
    """ "Redis connections per process <= 4 whatever the number of subscribers" (contract, section 10), none of whom
    misses anything or hears it twice; and Redis sends a node nothing of a tenant of which nobody is there.
    """
    assert figures["told"] == figures["clients"] == 40
    assert 0 < figures["crowdRedisConnections"] <= 4
    assert figures["foreignMessages"] == 0
    assert figures["homeMessages"] >= figures["posted"] == 60
