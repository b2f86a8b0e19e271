"""Several servers that are one to their users: one Redis and one PostgreSQL between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from tests.support import redis, tables
from tests.support.redis import RedisServer
from tests.support.server import Server, eventually, serving


class Nodes:
    """``each`` server that was begun, and the ``redis`` between them."""

    def __init__(self, stack: ExitStack, folder: Path, database: str, server: RedisServer) -> None:
        self.each: list[Server] = []
        self.redis = server
        self._stack = stack
        self._folder = folder
        self._database = database

    async def begin(self, **settings: object) -> Server:
        """One more, ready to serve."""
        given = {"broker_url": self.redis.url, "database_url": self._database, **settings}
        node = await asyncio.to_thread(self._stack.enter_context, serving(self._folder, given))
        node.database = self._database
        await eventually(partial(answers, node))
        self.each.append(node)
        return node

    def sum(self, metric: str) -> float:
        """A metric over all that live."""
        return sum(node.gauge(metric) for node in self.each if node.child.running)


def answers(node: Server) -> bool:
    """Whether a server says that it can serve."""
    return node.get("/readyz").status_code == 200


@asynccontextmanager
async def nodes(folder: Path, database: str, *, count: int = 2, **settings: object) -> AsyncIterator[Nodes]:
    """Servers on an empty PostgreSQL ``database``, ready to serve."""
    await tables.lay(database)
    with ExitStack() as stack:
        made = Nodes(stack, folder, database, stack.enter_context(redis.serving()))
        for _ in range(count):
            await made.begin(**settings)
        yield made
