"""Two servers on one Redis and one database, which are one to their users."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.support import redis
from tests.support.processes import wait_until
from tests.support.redis import RedisServer
from tests.support.server import Server, serving


@dataclass
class Pair:
    here: Server
    there: Server
    redis: RedisServer

    def wait_until_ready(self) -> None:
        for node in (self.here, self.there):
            wait_until(partial(_answers, node))


@contextmanager
def pair(folder: Path) -> Iterator[Pair]:
    """Both can serve. Their database is SQLite below ``folder``."""
    with redis.serving() as server:
        given = {"broker_url": server.url}
        with serving(folder, given) as here, serving(folder, given) as there:
            made = Pair(here, there, server)
            made.wait_until_ready()
            yield made


def _answers(node: Server) -> bool:
    return node.get("/readyz").status_code == 200
