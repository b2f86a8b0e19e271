"""How much of a limit that all nodes share is one node's own, while Redis is away and each judges alone."""

from collections.abc import Callable

Nodes = Callable[[], int]
"""How many nodes were last known to live, or were started together when nobody could be asked yet."""


def alone() -> int:
    """``Nodes`` of a node that has no others."""
    return 1


def share(limit: int, nodes: Nodes) -> int:
    """The part of ``limit`` that is this node's: never nothing, never more than the whole."""
    return max(1, limit // max(1, nodes()))
