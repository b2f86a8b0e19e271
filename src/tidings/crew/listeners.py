"""Where a crew listens: a socket for each worker on one address, and who listens on which of them.

The kernel spreads connections over the sockets evenly (``SO_REUSEPORT``). The supervisor holds all of them open
and every worker inherits all of them, so that no queued connection is lost with a worker: while one is away,
another listens on its socket too.
"""

import socket
from collections.abc import Collection


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """``count`` listening sockets on one address; port 0 is one free port for all.

    Raises:
        OSError: the address cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound: list[socket.socket] = []
    try:
        for _ in range(count):
            bound.append(socket.create_server((host, port), family=family, reuse_port=True))
            port = bound[0].getsockname()[1]
    except OSError:
        for each in bound:
            each.close()
        raise
    return bound


def cover(ready: Collection[int], count: int) -> dict[int, int]:
    """For each socket the worker that is to listen on it: its own, or else the next one that is ready.

    Empty when none is: connections wait in the kernel's queues.
    """
    return {
        number: min(ready, key=lambda worker: (worker - number) % count) for number in range(count) if ready
    }
