"""``python -m bench.jobs``: the queue, on PostgreSQL and Redis and on SQLite, beside BullMQ."""

import sys
from collections.abc import Sequence
from dataclasses import asdict

from bench.harness.report import Report
from bench.harness.run import options_of, positive_int, print_report, rig, take_turns
from bench.jobs.figures import ROWS
from bench.jobs.trial import Contender, Plan, bullmq, embedded, measure, scaled

CONTENDERS = (Contender("Tidings", scaled), Contender("embedded", embedded), Contender("BullMQ", bullmq))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and print what it found. 0: done; 1: it could not be done."""
    parser = options_of("jobs", __doc__, CONTENDERS)
    parser.add_argument("--jobs", type=positive_int, default=10_000, help="jobs at full speed")
    parser.add_argument("--starts", type=positive_int, default=200, help="jobs for an idle worker")
    parser.add_argument("--events", type=positive_int, default=200, help="reports to a client")
    options = parser.parse_args(arguments)
    plan = Plan(options.rounds, options.jobs, options.starts, options.events)
    chosen = [contender for contender in CONTENDERS if contender.name in options.servers]
    return print_report(run(chosen, plan), as_json=options.json)


async def run(contenders: Sequence[Contender], plan: Plan) -> Report:
    """All rounds of all contenders."""
    with rig(0) as place:
        trials = await take_turns(contenders, plan.rounds, lambda one: measure(one, plan, place))
    about = f"{plan.starts} jobs for an idle worker, {plan.jobs} that wait, {plan.events} reports"
    return Report("jobs", about, asdict(plan), ROWS, trials)


if __name__ == "__main__":
    sys.exit(main())
