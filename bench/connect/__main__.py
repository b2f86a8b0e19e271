"""``python -m bench.connect``: handshakes with a JWT, and idle clients; Tidings beside Node's socket.io."""

import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench.connect.connector import build_connector
from bench.connect.figures import ROWS
from bench.connect.trial import CYCLES, Plan, measure
from bench.harness.report import Report
from bench.harness.run import options_of, print_report, rig, take_turns
from bench.harness.servers import TIDINGS, Server, node_server

SERVERS = (TIDINGS, node_server("--jwt"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what it found. 0: done; 1: it could not be done."""
    options = options_of("connect", __doc__, SERVERS).parse_args(arguments)
    plan = Plan(options.connections, options.rounds)
    servers = [server for server in SERVERS if server.name in options.servers]
    return print_report(run(servers, plan), as_json=options.json)


async def run(servers: Sequence[Server], plan: Plan) -> Report:
    """All rounds of all servers."""
    with rig(3 * plan.connections) as place:
        program = build_connector(place.folder)
        trials = await take_turns(servers, plan.rounds, lambda server: measure(server, plan, place, program))
    about = f"{CYCLES} times {plan.connections} handshakes with a JWT, at most 64 at a time"
    return Report("connect", about, {**asdict(plan), "cycles": CYCLES}, ROWS, trials)


if __name__ == "__main__":
    sys.exit(main())
