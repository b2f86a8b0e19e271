"""Feeds ``wire.one_input`` with inputs that atheris (libFuzzer) makes up, guided by what they reach.

``make fuzz`` runs it for five minutes. A finding ends the run; its input is left in ``var/fuzz/`` and belongs,
once it is understood, into ``tests/fuzz/corpus``. Arguments are libFuzzer's.

Usage: ``python -m tests.fuzz.fuzz_wire [CORPUS...] [-max_total_time=SECONDS]``
"""

import sys
from importlib import import_module


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    # By its name, because only `make fuzz` installs it: no type checker can be asked to know it.
    atheris = import_module("atheris")
    atheris.enabled_hooks.add("str")
    with atheris.instrument_imports(include=["tidings.domain", "tidings.transports", "tests.fuzz"]):
        wire = import_module("tests.fuzz.wire")
    atheris.Setup(sys.argv, wire.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
