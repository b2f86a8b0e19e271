"""``python -m bench.fanout``: Tidings beside Node's socket.io and python-socketio, one core each."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.fanout.process import BenchmarkError, allow_descriptors, pinned, two_cores
from bench.fanout.receiver import build_receiver
from bench.fanout.report import document, table
from bench.fanout.servers import SERVERS, Server
from bench.fanout.trial import Plan, Rig, Trial, measure


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what it found. 0: done; 1: it could not be done."""
    options = _parser().parse_args(arguments)
    plan = Plan(options.connections, options.rounds, options.seconds, options.rate)
    servers = [server for server in SERVERS if server.name in options.servers]
    try:
        results = asyncio.run(run(servers, plan))
    except BenchmarkError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(json.dumps(document(results, plan), indent=2) if options.json else table(results, plan))
    return 0


async def run(servers: Sequence[Server], plan: Plan) -> dict[str, list[Trial]]:
    """All rounds, the servers taking turns, so that a slow minute of the machine meets them all."""
    allow_descriptors(plan.connections + 100)
    server_cpu, receiver_cpu = two_cores()
    if server_cpu == receiver_cpu:
        _note("one core only: server and receiver share it, the figures are lower than they could be")
    results: dict[str, list[Trial]] = {server.name: [] for server in servers}
    with pinned(receiver_cpu), tempfile.TemporaryDirectory(prefix="tidings-bench-") as name:
        folder = Path(name)
        rig = Rig(folder, build_receiver(folder), server_cpu, receiver_cpu)
        for number in range(plan.rounds):
            for server in servers:
                _note(f"round {number + 1} of {plan.rounds}: {server.name}")
                results[server.name].append(await measure(server, plan, rig))
    return results


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    names = [server.name for server in SERVERS]
    parser = argparse.ArgumentParser(prog="python -m bench.fanout", description=__doc__)
    parser.add_argument("--connections", type=_positive_int, default=1000)
    parser.add_argument("--rounds", type=_positive_int, default=3)
    parser.add_argument("--seconds", type=_positive, default=3.0, help="the length of each run")
    parser.add_argument("--rate", type=_positive, default=5.0, help="messages/s while latency is measured")
    parser.add_argument(
        "--servers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not value > 0:
        raise ValueError(text)
    return value


def _positive_int(text: str) -> int:
    return int(_positive(str(int(text))))


if __name__ == "__main__":
    sys.exit(main())
