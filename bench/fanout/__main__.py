"""``python -m bench.fanout``: Tidings beside Node's socket.io and python-socketio, one core each."""

import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench.fanout.figures import BURST, ROWS
from bench.fanout.receiver import build_receiver
from bench.fanout.servers import SERVERS
from bench.fanout.trial import Plan, measure
from bench.harness.emitter import PAYLOAD_BYTES
from bench.harness.report import Report
from bench.harness.run import options_of, positive, print_report, rig, take_turns
from bench.harness.servers import Server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what it found. 0: done; 1: it could not be done."""
    parser = options_of("fanout", __doc__, SERVERS)
    parser.add_argument("--seconds", type=positive, default=3.0, help="the length of each run")
    parser.add_argument("--rate", type=positive, default=5.0, help="messages/s while latency is measured")
    options = parser.parse_args(arguments)
    plan = Plan(options.connections, options.rounds, options.seconds, options.rate)
    servers = [server for server in SERVERS if server.name in options.servers]
    return print_report(run(servers, plan), as_json=options.json)


async def run(servers: Sequence[Server], plan: Plan) -> Report:
    """All rounds of all servers."""
    with rig(plan.connections) as place:
        program = build_receiver(place.folder)
        trials = await take_turns(servers, plan.rounds, lambda server: measure(server, plan, place, program))
    about = (
        f"{plan.connections} connections, {PAYLOAD_BYTES}-byte payload, runs of {plan.seconds:g} s, "
        f"latency at {plan.rate:g} messages/s"
    )
    return Report(
        "fanout", about, {**asdict(plan), "payload_bytes": PAYLOAD_BYTES, "burst": BURST}, ROWS, trials
    )


if __name__ == "__main__":
    sys.exit(main())
