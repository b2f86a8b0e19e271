"""A real redis-server for the tests, on a port of its own, keeping nothing on disk."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tests.support.processes import Child, free_port, running
from tests.support.programs import redis_server


@dataclass(frozen=True, slots=True)
class RedisServer:
    """A running server. ``child`` is there to be paused or killed by the tests of faults."""

    port: int
    child: Child

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"


@contextmanager
def serving(port: int | None = None) -> Iterator[RedisServer]:
    """Serve an empty Redis for the time of the block; on a given port to come back where one was.

    Raises:
        MissingProgramError: there is no redis-server, or one that is too old.
    """
    chosen = free_port() if port is None else port
    with tempfile.TemporaryDirectory(prefix="tidings-redis-") as folder:
        options = ("--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder)
        with running([redis_server(), "--port", str(chosen), *options]) as child:
            child.wait_for_output("Ready to accept connections")
            yield RedisServer(chosen, child)
