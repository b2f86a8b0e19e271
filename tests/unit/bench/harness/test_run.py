"""What all benchmarks have in common: options, rounds, and the exit code."""

import os

import pytest

from bench.connect.figures import ROWS as CONNECT_ROWS
from bench.connect.figures import Figures as ConnectFigures
from bench.fanout.figures import ROWS as FANOUT_ROWS
from bench.fanout.figures import Figures as FanoutFigures
from bench.harness.process import BenchmarkError
from bench.harness.report import Report, Row, Trial
from bench.harness.run import options_of, print_report, rig, take_turns
from bench.harness.servers import Server, python_server
from bench.recover.figures import ROWS as RECOVER_ROWS
from bench.recover.figures import Figures as RecoverFigures

SERVERS = [python_server("a", "nowhere"), python_server("b", "nowhere")]


@pytest.mark.parametrize(
    ("rows", "figures"),
    [
        (FANOUT_ROWS, FanoutFigures),
        (CONNECT_ROWS, ConnectFigures),
        (RECOVER_ROWS, RecoverFigures),
    ],
)
def test_every_figure_is_shown(rows: tuple[Row, ...], figures: type) -> None:
    """A row for each, and in the order in which a trial has them."""
    assert [row.field for row in rows] == list(figures.__annotations__)


async def test_servers_take_turns() -> None:
    """A slow minute of the machine meets them all."""
    measured: list[str] = []

    async def measure(server: Server) -> Trial:
        measured.append(server.name)
        return Trial("v1", {"number": len(measured)})

    trials = await take_turns(SERVERS, 2, measure)
    assert measured == ["a", "b", "a", "b"]
    assert [trial.figures["number"] for trial in trials["b"]] == [2, 4]


def test_all_servers_are_compared_unless_some_are_named() -> None:
    """Three rounds with a thousand connections, unless told otherwise."""
    parser = options_of("x", "about", SERVERS)
    options = parser.parse_args([])
    assert (options.servers, options.rounds, options.connections) == (["a", "b"], 3, 1000)
    assert parser.parse_args(["--servers", "b"]).servers == ["b"]


@pytest.mark.parametrize("arguments", ["--rounds 0", "--connections -1", "--connections 1.5", "--servers c"])
def test_nonsense_is_refused(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the usage and argparse's exit code."""
    with pytest.raises(SystemExit) as refused:
        options_of("x", "about", SERVERS).parse_args(arguments.split())
    assert refused.value.code == 2
    assert "usage: python -m bench.x" in capsys.readouterr().err


def test_a_benchmark_that_cannot_be_done_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    """On stderr, with exit code 1 and nothing on stdout."""

    async def impossible() -> Report:
        raise BenchmarkError("no compiler")

    assert print_report(impossible(), as_json=True) == 1
    assert capsys.readouterr() == ("", "bench: no compiler\n")


def test_the_process_gets_its_cores_back() -> None:
    """The driver keeps to the clients' core only while it measures."""
    cores = os.sched_getaffinity(0)
    with rig(10) as place:
        assert os.sched_getaffinity(0) == {place.client_cpu}
        assert place.folder.is_dir()
    assert os.sched_getaffinity(0) == cores
    assert not place.folder.exists()
