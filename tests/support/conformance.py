"""The conformance servers of ``tests/conformance`` in processes of their own, as an outside suite meets them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.source_tree import ROOT
from tests.support.processes import Child, running

_FOLDER = ROOT / "tests" / "conformance"


@contextmanager
def conforming(script: str) -> Iterator[int]:
    """The port of a server that has to answer whatever comes without a word in its log."""
    with talking(script) as (port, child):
        yield port
        assert child.running
    assert len(child.output.splitlines()) == 1


@contextmanager
def talking(script: str, *options: str | Path) -> Iterator[tuple[int, Child]]:
    """The same, and its process, from which nothing is asked."""
    with running([sys.executable, _FOLDER / script, "--port", "0", *options]) as child:
        listening = child.wait_for_output(r"^listening on 127\.0\.0\.1:(\d+)$")
        yield int(listening[1]), child
