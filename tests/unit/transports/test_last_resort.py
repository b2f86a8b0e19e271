"""The process is gone when it was to be, though nothing in it goes on."""

import subprocess
import sys
import time

import pytest

STUCK = """
import sys, time
from tidings.transports.last_resort import LastResort
last = LastResort()
for seconds in map(float, sys.argv[1:]):
    last.within(seconds)
time.sleep(60)
"""


@pytest.mark.parametrize("asked", [("0.1",), ("50", "0.1"), ("0.1", "50")])
def test_a_stuck_process_leaves_in_time(asked: tuple[str, ...]) -> None:
    """ "Exit 0": at the earliest moment that was asked for, saying that it was cut short."""
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", STUCK, *asked], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, "cut short" in done.stdout) == (0, True)
    assert time.monotonic() - begun < 20
