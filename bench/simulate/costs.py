"""What each step of a message costs, as measured on the machine of ``docs/performance.md``: one core's time.

These are the simulation's only facts; ``docs/scale.md`` says how each was measured. ``python -m bench.simulate
--check`` compares what follows from them with what two real nodes do.
"""

from dataclasses import dataclass

MICRO = 1e-6


@dataclass(frozen=True, slots=True)
class Costs:
    """Seconds of one core, unless it is said otherwise. ``*_turn`` is paid once for all that goes together."""

    accept: float = 1300 * MICRO
    """POST /notifications at the node that accepts it, its side of the transaction included."""
    commit: float = 800 * MICRO
    """PostgreSQL: one transaction."""
    publish_turn: float = 100 * MICRO
    """At the accepting node: one trip to Redis."""
    publish: float = 12 * MICRO
    redis_turn: float = 65 * MICRO
    """Redis: reading a batch, and answering it."""
    redis: float = 22 * MICRO
    """Redis: the script, which numbers, appends, trims and publishes."""
    redis_push: float = 1 * MICRO
    """Redis: each node that is subscribed."""
    hear_turn: float = 60 * MICRO
    """At a node with an audience: being woken by Redis."""
    hear: float = 5 * MICRO
    deliver: float = 7.7 * MICRO
    """One ``write`` to one connection. Writes that would be joined are not, which is pessimistic."""
    handshake: float = 470 * MICRO
    """A connect with a token over WebSocket."""
    lease: float = 5 * MICRO
    """At a node, every five seconds for each user and each address that has connections."""
    redis_lease: float = 7 * MICRO
    """Redis: the same."""
    wire: float = 30 * MICRO
    """From one process to another on this machine; a real network adds its own."""
    connection_bytes: int = 6_000
    """In a node's process; the kernel's socket buffers are not in it."""
    history_bytes: int = 450
    """In Redis, for each event that a history holds."""
