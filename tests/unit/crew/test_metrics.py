"""Metrics of several processes as those of one."""

import asyncio
import socket
from collections.abc import Sequence
from pathlib import Path

import pytest
from prometheus_client import Metric, generate_latest

from tidings import metrics
from tidings.crew import metrics as crew_metrics
from tidings.crew.metrics import Family, merge, summed, telling
from tidings.domain.crew import Crew

GET = {"method": "GET"}
POST = {"method": "POST"}


def value(families: list[Metric], name: str, **labels: str) -> float:
    """Of the one sample with that name and these labels."""
    samples = [sample for family in families for sample in family.samples]
    (found,) = [sample.value for sample in samples if sample.name == name and sample.labels == labels]
    return found


def test_values_are_summed_by_labels() -> None:
    """Counters, gauges and each bucket of a histogram; what one process alone has counts as it is."""
    one: list[Family] = [
        ("asked", "Asked", "counter", [("asked_total", GET, 1), ("asked_total", POST, 2)]),
        ("open", "Open", "gauge", [("open", {}, 5)]),
        (
            "took",
            "Took",
            "histogram",
            [("took_bucket", {"le": "1.0"}, 1), ("took_bucket", {"le": "+Inf"}, 2)],
        ),
    ]
    two: list[Family] = [
        ("asked", "Asked", "counter", [("asked_total", POST, 10)]),
        ("open", "Open", "gauge", [("open", {}, 6)]),
        (
            "took",
            "Took",
            "histogram",
            [("took_bucket", {"le": "1.0"}, 3), ("took_bucket", {"le": "+Inf"}, 4)],
        ),
        ("late", "Late", "gauge", [("late", {}, 1)]),
    ]
    merged = merge([one, two])
    assert [(family.name, family.type) for family in merged] == [
        ("asked", "counter"),
        ("open", "gauge"),
        ("took", "histogram"),
        ("late", "gauge"),
    ]
    assert value(merged, "asked_total", **GET) == 1
    assert value(merged, "asked_total", **POST) == 12
    assert value(merged, "open") == 11
    assert value(merged, "took_bucket", le="1.0") == 4
    assert value(merged, "took_bucket", le="+Inf") == 6
    assert value(merged, "late") == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tidings_connections_peak", 3),
        ("tidings_broker_healthy", 1),
        ("tidings_degraded", 2),
        ("tidings_relay_pending", 2),
        ("tidings_relay_lag_seconds", 2),
        ("process_resident_memory_bytes", 3),
        ("process_start_time_seconds", 1),
        ("tidings_deliveries_created", 1),
    ],
)
def test_what_is_no_sum(name: str, expected: float) -> None:
    """What all see alike is not multiplied, one ill process makes the whole ill, and the first start counts."""
    answers: list[list[Family]] = [[(name, "", "gauge", [(name, {}, each)])] for each in (1.0, 2.0)]
    assert value(merge(answers), name) == expected


async def test_those_that_answer_are_summed(tmp_path: Path) -> None:
    """Two that tell, and one that is not there."""
    metrics.streams_active.labels("test").set(7)
    crew = Crew(0, 3, tmp_path)
    async with telling(crew.metrics(0)), telling(crew.metrics(2)):
        text = (await asyncio.to_thread(generate_latest, summed(crew))).decode()
    lines = text.splitlines()
    assert 'tidings_streams_active{kind="test"} 14.0' in lines
    assert "tidings_workers 2.0" in lines
    assert sum(line.startswith("# TYPE tidings_streams_active ") for line in lines) == 1


async def test_one_that_hangs_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, and whatever was said in that time: nothing, or a little again and again."""
    monkeypatch.setattr(crew_metrics, "ANSWER_SECONDS", 0.2)
    crew = Crew(0, 3, tmp_path)
    ask = crew_metrics._ask

    def ask_with_patience(path: Path, deadline: float) -> Sequence[Family] | None:
        """A busy machine is no fault of the one that answers."""
        return ask(path, deadline + 60 if path == crew.metrics(0) else deadline)

    monkeypatch.setattr(crew_metrics, "_ask", ask_with_patience)

    left = asyncio.Event()

    async def drip(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.01)
        writer.close()
        left.set()

    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(crew.metrics(1)))
        silent.listen()
        dripping = await asyncio.start_unix_server(drip, crew.metrics(2))
        async with asyncio.timeout(60), telling(crew.metrics(0)), dripping:
            text = await asyncio.to_thread(generate_latest, summed(crew))
            await left.wait()
    assert b"tidings_workers 1.0" in text


async def test_a_successor_tells_on_the_same_path(tmp_path: Path) -> None:
    """What a killed worker left there is no obstacle."""
    path = Crew(0, 1, tmp_path).metrics(0)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with telling(path):
        assert b"tidings_workers 1.0" in await asyncio.to_thread(
            generate_latest, summed(Crew(0, 1, tmp_path))
        )
