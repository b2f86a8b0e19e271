"""``python -m bench.nodes``: two nodes on one Redis; Tidings beside socket.io with its Redis adapter."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from bench.fanout.receiver import build_receiver
from bench.harness.emitter import PAYLOAD_BYTES
from bench.harness.report import Report, Trial
from bench.harness.run import options_of, positive, positive_int, print_report, rig, take_turns
from bench.harness.servers import Server, node_server, tidings_server
from bench.nodes.figures import BURST, ROWS, CrowdFigures, ForeignFigures
from bench.nodes.tenancy import house, measure_crowd, measure_foreign
from bench.nodes.trial import Contender, Plan, measure


def _tidings(redis: str, folder: Path) -> Server:
    return tidings_server("--redis", redis, "--folder", str(folder))


def _socketio(redis: str, _: Path) -> Server:
    return node_server("--transports", "websocket", "--redis", redis)


CONTENDERS = (Contender("Tidings", _tidings, tenants=True), Contender("socket.io", _socketio))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what it found. 0: done; 1: it could not be done."""
    parser = options_of("nodes", __doc__, CONTENDERS)
    parser.add_argument("--seconds", type=positive, default=3.0, help="the length of each run")
    parser.add_argument("--rate", type=positive, default=500.0, help="messages/s while latency is measured")
    parser.add_argument(
        "--listeners", type=positive_int, default=10, help="clients while latency is measured"
    )
    parser.add_argument(
        "--posts", type=positive_int, default=5000, help="notifications of a tenant that is at one node alone"
    )
    options = parser.parse_args(arguments)
    listeners = min(options.listeners, options.connections)
    plan = Plan(options.connections, options.rounds, options.seconds, options.rate, listeners)
    chosen = [contender for contender in CONTENDERS if contender.name in options.servers]
    return print_report(run(chosen, plan, options.posts), as_json=options.json)


async def run(contenders: Sequence[Contender], plan: Plan, posts: int) -> Report:
    """All rounds of all contenders."""
    with rig(2 * plan.connections) as place:
        program = build_receiver(place.folder)

        async def trial(contender: Contender) -> Trial:
            pair = await measure(contender, plan, place, program)
            crowd, foreign = CrowdFigures(), ForeignFigures()
            if contender.tenants:
                async with house(place) as there:
                    foreign = await measure_foreign(there, posts=posts)
                    crowd = await measure_crowd(there, clients=2 * plan.connections)
            return Trial(pair.version, {**pair.figures, **asdict(crowd), **asdict(foreign)})

        trials = await take_turns(contenders, plan.rounds, trial)
    about = (
        f"two nodes on one Redis, published at one, received by {plan.connections} connections of the other, "
        f"{PAYLOAD_BYTES}-byte payload, runs of {plan.seconds:g} s, latency at {plan.rate:g} messages/s and "
        f"{plan.listeners} connections"
    )
    done = {**asdict(plan), "posts": posts, "payload_bytes": PAYLOAD_BYTES, "burst": BURST}
    return Report("nodes", about, done, ROWS, trials)


if __name__ == "__main__":
    sys.exit(main())
