"""``python -m bench.recover``: a thousand clients drop and come back; Tidings beside Node's socket.io."""

import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench.harness.report import Report
from bench.harness.run import options_of, positive_int, print_report, rig, take_turns
from bench.harness.servers import TIDINGS, Server, node_server
from bench.recover.figures import ROWS
from bench.recover.returner import build_returner
from bench.recover.trial import Plan, measure

SERVERS = (TIDINGS, node_server("--transports", "websocket", "--jwt", "--recovery"))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what it found. 0: done; 1: it could not be done."""
    parser = options_of("recover", __doc__, SERVERS)
    parser.add_argument("--missed", type=positive_int, default=100, help="events that each client misses")
    options = parser.parse_args(arguments)
    plan = Plan(options.connections, options.rounds, options.missed)
    servers = [server for server in SERVERS if server.name in options.servers]
    return print_report(run(servers, plan), as_json=options.json)


async def run(servers: Sequence[Server], plan: Plan) -> Report:
    """All rounds of all servers."""
    with rig(plan.connections) as place:
        program = build_returner(place.folder)
        trials = await take_turns(servers, plan.rounds, lambda server: measure(server, plan, place, program))
    about = f"{plan.connections} clients with a JWT are cut off, miss {plan.missed} events and return at once"
    return Report("recover", about, asdict(plan), ROWS, trials)


if __name__ == "__main__":
    sys.exit(main())
