"""``python -m bench.simulate``: what a million connections would take, from what was measured of a few.

With ``--check`` two real nodes are run at several rates, and the model's latencies are shown beside theirs.
"""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from bench.fanout.receiver import build_receiver
from bench.harness.process import BenchmarkError
from bench.harness.run import rig
from bench.nodes.__main__ import CONTENDERS
from bench.nodes.trial import Plan, latency_at
from bench.simulate.costs import Costs
from bench.simulate.model import Model, Outcome, Scenario

CONNECTIONS = (1_000, 10_000, 100_000, 1_000_000)
PER_NODE = 10_000
"""The contract's bound for a process (section 10)."""
TENANT = 500
"""Connections of a tenant."""
HOURLY = 6.0
"""Notifications a user gets in an hour; of broadcasts each tenant has one a minute."""
RATES = (100.0, 250.0, 500.0, 1000.0)
LISTENERS = (1, 10, 50)
_HEADINGS = ("connections", "nodes", "tenants", "messages/s", "deliveries/s", "node", "postgres", "redis")


@dataclass(frozen=True, slots=True)
class Point:
    """One scenario and what became of it."""

    scenario: Scenario
    outcome: Outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what was simulated. 0: done; 1: it could not be done."""
    parser = argparse.ArgumentParser(prog="python -m bench.simulate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run two real nodes beside the model")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long messages come")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            asyncio.run(_check(options.seconds))
        else:
            _print_growth(grown(options.seconds))
    except BenchmarkError as fault:
        print(f"bench: {fault}", file=sys.stderr)
        return 1
    return 0


def grown(seconds: float, sizes: Sequence[int] = CONNECTIONS) -> list[Point]:
    """The same use by ever more users: nodes as many as the bound asks for, Redis and PostgreSQL as need be."""
    points = []
    for connections in sizes:
        tenants = max(1, connections // TENANT)
        scenario = Scenario(
            connections=connections,
            nodes=max(2, connections // PER_NODE),
            tenants=tenants,
            notifications=connections * HOURLY / 3600,
            broadcasts=tenants / 60,
            keys=2.0,
        )
        points.append(Point(scenario, Model(scenario, Costs(), seconds=seconds).run()))
    return points


def _print_growth(points: Sequence[Point]) -> None:
    print("load of the busiest node, of PostgreSQL (4 cores) and of one Redis, as shares; latency in ms")
    print(" ".join(f"{heading:>12}" for heading in (*_HEADINGS, "p50", "p99")))
    for scenario, outcome in ((point.scenario, point.outcome) for point in points):
        rate = scenario.notifications + scenario.broadcasts
        delivered = scenario.notifications * scenario.devices
        delivered += scenario.broadcasts * scenario.connections / scenario.tenants
        cells = [
            *(f"{number:,}" for number in (scenario.connections, scenario.nodes, scenario.tenants)),
            *(f"{number:,.0f}" for number in (rate, delivered)),
            *(f"{load:.2f}" for load in (outcome.node_load, outcome.database_load, outcome.redis_load)),
            *(f"{seconds * 1000:.2f}" for seconds in (outcome.accepted_p50, outcome.accepted_p99)),
        ]
        print(" ".join(f"{cell:>12}" for cell in cells))
    print("full at, messages/s, if all else keeps up: " + ", ".join(_capacities(points[-1])))


def _capacities(point: Point) -> list[str]:
    """At which rate each part of the largest scenario has no time left."""
    scenario, outcome = point.scenario, point.outcome
    rate = scenario.notifications + scenario.broadcasts
    loads = {
        f"{scenario.nodes} nodes": outcome.node_load,
        f"PostgreSQL on {scenario.database_cores} cores": outcome.database_load,
    }
    full = [f"{name} {rate / load:,.0f}" for name, load in loads.items()]
    return [*full, f"with {ceil(outcome.redis_load)} Redis"]


async def _check(seconds: float) -> None:
    """The model beside reality: published at one node, heard at the other."""
    print(f"{'listeners':>10} {'messages/s':>10} {'p50 ms':>16} {'p99 ms':>16}   measured : model")
    with rig(max(LISTENERS)) as place:
        program = build_receiver(place.folder)
        plan = Plan(max(LISTENERS), 1, seconds, RATES[0], LISTENERS[0])
        for listeners in LISTENERS:
            for rate in RATES:
                asked = replace(plan, rate=rate, listeners=listeners)
                real = await latency_at(CONTENDERS[0], asked, place, program)
                model = Model(across(listeners, rate), Costs(), seconds=seconds).run()
                p50 = f"{real.p50 * 1000:.2f} : {model.published_p50 * 1000:.2f}"
                p99 = f"{real.p99 * 1000:.2f} : {model.published_p99 * 1000:.2f}"
                print(f"{listeners:>10} {rate:>10g} {p50:>16} {p99:>16}", flush=True)


def across(listeners: int, rate: float) -> Scenario:
    """What ``bench.nodes`` does: one node publishes, every client is at another one."""
    return Scenario(connections=listeners, nodes=1, broadcasts=rate, direct=True, apart=True)


if __name__ == "__main__":
    sys.exit(main())
