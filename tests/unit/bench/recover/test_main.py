"""The whole benchmark, small."""

import json

import pytest

from bench.recover.__main__ import main


def test_a_small_run_recovers_everybody(capsys: pytest.CaptureFixture[str]) -> None:
    """ "Reconnecting with {pid, offset} replays exactly what was missed, in order, ... with zero events received
    so far, any number of times" (contract, section 4).
    """
    assert (
        main(["--servers", "Tidings", "--connections", "20", "--missed", "30", "--rounds", "1", "--json"])
        == 0
    )
    (server,) = json.loads(capsys.readouterr().out)["servers"]
    figures = server["median"]
    assert (figures["recovered"], figures["quietRecovered"]) == (100, 100)
    assert figures["seconds"] > 0
    assert figures["quietSeconds"] > 0
