"""``python -m bench``: every benchmark there is, one after the other, with the options that all of them have."""

import argparse
import sys
from collections.abc import Sequence

from bench.connect import __main__ as connect
from bench.fanout import __main__ as fanout
from bench.harness.run import positive_int
from bench.jobs import __main__ as jobs
from bench.nodes import __main__ as nodes
from bench.recover import __main__ as recover

BENCHMARKS = (fanout.main, connect.main, recover.main, nodes.main, jobs.main)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run them all, each report as soon as it is there. 0: done; 1: one of them could not be done."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rounds", type=positive_int, default=3)
    parser.add_argument("--connections", type=positive_int, default=1000)
    parser.add_argument("--json", action="store_true", help="a JSON document for each instead of its table")
    options = parser.parse_args(arguments)
    common = ["--rounds", str(options.rounds), "--connections", str(options.connections)]
    if options.json:
        common.append("--json")
    return max(benchmark(common) for benchmark in BENCHMARKS)


if __name__ == "__main__":
    sys.exit(main())
