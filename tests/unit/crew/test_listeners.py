"""The sockets of a crew, and who listens on them."""

import socket
from contextlib import ExitStack
from itertools import combinations

import pytest

from tidings.crew.listeners import bind, cover


def test_sockets_of_one_port() -> None:
    """Port 0 is one free port for all, and the kernel spreads connections over the sockets."""
    with ExitStack() as stack:
        listeners = [stack.enter_context(listener) for listener in bind("127.0.0.1", 0, 3)]
        (address,) = {listener.getsockname() for listener in listeners}
        for listener in listeners:
            listener.setblocking(False)
        reached: set[int] = set()
        while len(reached) < len(listeners):
            with socket.create_connection(address):
                reached |= {number for number, listener in enumerate(listeners) if _accepts(listener)}


def test_an_address_that_is_taken() -> None:
    """Said, and nothing is left open."""
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        bind("127.0.0.1", taken.getsockname()[1], 2)


def test_everybody_has_the_own_socket() -> None:
    """As long as nobody is missing."""
    assert cover(range(4), 4) == {0: 0, 1: 1, 2: 2, 3: 3}


def test_no_socket_is_left_alone() -> None:
    """Whoever is missing, the sockets are listened on by those that are ready, the own always among them."""
    for size in range(1, 5):
        for ready in combinations(range(4), size):
            covered = cover(ready, 4)
            assert covered.keys() == set(range(4))
            assert set(covered.values()) == set(ready)
            assert all(covered[number] == number for number in ready)


def test_nobody_is_ready() -> None:
    """Then connections wait."""
    assert cover([], 3) == {}


def _accepts(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True
