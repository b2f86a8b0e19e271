"""The conformance servers of ``tests/conformance`` in processes of their own, as an outside suite meets them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.source_tree import ROOT
from tests.support.processes import running

_FOLDER = ROOT / "tests" / "conformance"


@contextmanager
def conforming(script: str) -> Iterator[int]:
    """The port of a server that has to answer whatever comes without a word in its log."""
    with running([sys.executable, _FOLDER / script, "--port", "0"]) as child:
        listening = child.wait_for_output(r"^listening on 127\.0\.0\.1:(\d+)$")
        yield int(listening[1])
        assert child.running
    assert child.output == f"{listening[0]}\n"
