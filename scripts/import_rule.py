"""The import rule of the house: imports go downwards only.

The tables below are the rule itself, to be read as documentation. A room is a folder or a file directly
under ``src/tidings/``. Every room may import itself; what a room may import of another one is listed, a
whole room (``domain``) or one part of it (``hub.session``). What a lower room needs from a neighbour is
handed to it by ``app``.

Usage: ``python -m scripts.import_rule``; exits 1 and names each fault if there is one.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from scripts.source_tree import PACKAGE, ROOT, Import, Module, Violation, imports, modules

EVERYTHING = ("",)
"""The empty name is the start of every room's name."""

ALLOWED: dict[str, tuple[str, ...]] = {
    # Those that put the rest together; the six below it are pages of ``app``.
    "app": EVERYTHING,
    "reception": EVERYTHING,
    "sharing": EVERYTHING,
    "surfaces": EVERYTHING,
    "upkeep": EVERYTHING,
    "workplace": EVERYTHING,
    "workshop": EVERYTHING,
    "cli": EVERYTHING,
    # Several processes that serve together; knows nothing of what they serve.
    "crew": ("domain", "metrics"),
    # The package's face: `from tidings import job, JobContext`.
    "__init__": ("jobs",),
    # The edge. Transports own wires, so they also meet the parts of the hub that a wire is made of.
    "transports": (
        "delivery",
        "identity",
        "hub.session",
        "hub.outbox",
        "hub.wheel",
        "hub.format",
        "domain",
        "metrics",
    ),
    "api": ("delivery", "identity", "hub.session", "domain", "metrics"),
    "console": ("delivery", "identity", "hub.session", "domain", "metrics"),
    # Work.
    "song": ("jobs", "domain"),
    "jobs": ("delivery", "store", "artifacts", "domain", "metrics"),
    # What the nodes of a cluster count and remember together, behind the protocols of those below.
    "cluster": ("identity", "delivery", "broker", "domain", "metrics"),
    # The verbs.
    "delivery": ("identity", "hub", "broker", "store", "domain", "metrics"),
    # The neighbours, which never import each other.
    "identity": ("domain", "metrics"),
    "hub": ("domain", "metrics"),
    "broker": ("domain", "metrics"),
    "store": ("domain", "metrics"),
    "artifacts": ("domain", "metrics"),
    # The ground.
    "domain": (),
    "settings": (),
    "metrics": (),
    "log": ("domain",),
}

SANS_IO = (
    "domain",
    "broker.redis.hearing",
    "broker.redis.layout",
    "transports.message",
    "transports.socketio.packet",
    "transports.socketio.payload",
    "transports.socketio.engine",
    "transports.socketio.protocol",
    "transports.sse.frame",
)
"""Bytes in, values out: these know no event loop, no socket and no database."""

IO_PACKAGES = frozenset({"asyncio", "redis", "sqlalchemy", "starlette", "fastapi", "uvicorn", "socket"})


def check(root: Path) -> list[Violation]:
    """Every import below a repository's ``src/`` that breaks the rule."""
    source = modules(root / "src")
    ours = [module for name, module in source.items() if _within(name, PACKAGE)]
    return [fault for module in ours for fault in _faults(module, imports(module, source))]


def _faults(module: Module, found: list[Import]) -> Iterator[Violation]:
    here = _inner(module.name)
    room = here.partition(".")[0]
    if room not in ALLOWED:
        yield Violation(module.path, 1, f"{room} is no room of the house: give it a line in the import rule")
        return
    pure = any(_within(here, part) for part in SANS_IO)
    for each in found:
        if _within(each.target, PACKAGE):
            if not _allowed(room, _inner(each.target)):
                yield Violation(module.path, each.line, f"{room} may not import {each.target}")
        elif pure and each.target.partition(".")[0] in IO_PACKAGES:
            yield Violation(module.path, each.line, f"{here} does no I/O and may not import {each.target}")


def _allowed(room: str, target: str) -> bool:
    return any(_within(target, part) for part in (room, *ALLOWED[room]))


def _inner(name: str) -> str:
    """A module's name inside the package; the package itself is its ``__init__``."""
    return name.removeprefix(PACKAGE).removeprefix(".") or "__init__"


def _within(name: str, part: str) -> bool:
    return not part or name == part or name.startswith(f"{part}.")


def main(root: Path = ROOT) -> int:
    faults = check(root)
    for fault in faults:
        print(fault)
    print(f"import rule: {len(faults)} violations")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
