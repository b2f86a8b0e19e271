"""A house of two nodes, a Redis and a PostgreSQL, everything in processes of its own, to be broken piece by piece."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import asyncpg
from redis import Redis

from tests.support import postgres, redis
from tests.support.installed import TIDINGS
from tests.support.postgres import PostgresServer
from tests.support.processes import running, wait_until
from tests.support.recorder import Count, Nodes, Recorder, Writer, counted
from tests.support.redis import RedisServer
from tests.support.server import Person, Server, eventually, serving
from tidings.domain.people import Role

NODES = 2
WHOLE_SECONDS = 40.0
"""How long the last of what was accepted may take to arrive, when everything runs again."""
_LIMITS = {"rest_rate_per_minute": 1_000_000, "handshake_rate": 10_000, "max_connections_per_ip": 10_000}


class House:
    """``nodes`` are those that run. Each fault ends with everything running again."""

    def __init__(self, folder: Path, database: PostgresServer, url: str, stack: ExitStack) -> None:
        self.nodes: list[Server] = []
        self.database = database
        self.url = url
        self._folder = folder
        self._stack = stack
        self._chance = random.Random(1)
        self.redis: RedisServer = stack.enter_context(redis.serving())

    def start(self, port: int = 0) -> Server:
        """One node more, on the port of one that has gone if it is given."""
        settings = {"broker_url": self.redis.url, "database_url": self.url, "drain_seconds": 1, **_LIMITS}
        node = self._stack.enter_context(serving(self._folder, settings, port=port))
        wait_until(lambda: node.get("/readyz").status_code == 200)
        self.nodes.append(node)
        return node

    def any(self) -> Server:
        """One of those that run."""
        if not self.nodes:
            raise ConnectionRefusedError("no node runs")
        return self._chance.choice(self.nodes)

    async def replace(self, node: Server, number: signal.Signals) -> int:
        """End a node by a signal, and start it again on its port; its exit code."""
        self.nodes.remove(node)
        node.child.send(number)
        code = await asyncio.to_thread(node.child.wait)
        await asyncio.to_thread(self.start, node.port)
        return code

    async def restart_redis(self) -> None:
        """It is killed, and comes back empty."""
        self.redis.child.stop(signal.SIGKILL)
        await asyncio.sleep(1.0)
        self.redis = self._stack.enter_context(redis.serving(self.redis.port))

    async def pause_redis(self, seconds: float) -> None:
        self.redis.child.send(signal.SIGSTOP)
        await asyncio.sleep(seconds)
        self.redis.child.send(signal.SIGCONT)

    def cut_redis(self) -> None:
        """Every connection to it is lost; it forgets nothing."""
        with Redis(port=self.redis.port) as client:
            for one in client.client_list():
                if one["name"].startswith("tidings"):
                    client.client_kill_filter(_id=one["id"])

    async def crash_postgres(self, seconds: float) -> None:
        await asyncio.to_thread(self.database.crash)
        await asyncio.sleep(seconds)
        await asyncio.to_thread(self.database.start)

    async def cut_postgres(self) -> None:
        """Every connection to it is ended from its side."""
        await self._sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    async def stall_postgres(self, seconds: float) -> None:
        """Nobody gets at notifications for a while: it is slow, not away."""
        connection = await asyncpg.connect(self.url)
        try:
            async with connection.transaction():
                await connection.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
                await asyncio.sleep(seconds)
        finally:
            await connection.close()

    async def written(self, people: Sequence[Person]) -> list[str]:
        """The titles of all notifications to them that stand in the database, in order."""
        connection = await asyncpg.connect(self.url)
        try:
            rows = await connection.fetch(
                "SELECT title FROM notifications WHERE user_id = ANY($1)", [person.id for person in people]
            )
        finally:
            await connection.close()
        return sorted(row["title"] for row in rows)

    async def _sql(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def people(self, count: int) -> list[Person]:
        return await self.nodes[0].people(*[Role.USER] * count)


@contextmanager
def house(folder: Path) -> Iterator[House]:
    """Two nodes that are ready."""
    with postgres.serving(crashable=True) as database, ExitStack() as stack:
        url = asyncio.run(database.fresh_database())
        with running([TIDINGS, "migrate"], env={"TIDINGS_DATABASE_URL": url}, cwd=folder) as migrating:
            assert migrating.wait() == 0, migrating.output
        made = House(folder, database, url, stack)
        for _ in range(NODES):
            made.start()
        yield made


class Load:
    """``people`` who post, each with ``clients`` that listen."""

    def __init__(self, nodes: Nodes, people: Sequence[Person], *, clients: int, pause: float) -> None:
        self.people = people
        self.writers = [Writer(person, nodes, pause) for person in people]
        self.recorders = [Recorder(person, nodes) for person in people for _ in range(clients)]

    @property
    def titles(self) -> list[str]:
        """Of all that was accepted, in order."""
        return sorted(title for writer in self.writers for title in writer.titles)

    async def accepted(self, more: int) -> None:
        """Wait until each writer has so many more accepted."""
        goals = [len(writer.accepted) + more for writer in self.writers]
        await eventually(
            lambda: all(len(w.accepted) >= goal for w, goal in zip(self.writers, goals, strict=True)),
            WHOLE_SECONDS,
        )

    def count(self) -> Count:
        return counted(self.writers, self.recorders)


@asynccontextmanager
async def load(
    nodes: Nodes, people: Sequence[Person], *, clients: int = 2, pause: float = 0.02
) -> AsyncIterator[Load]:
    """A load that runs for the time of the block; at its end all that was accepted has arrived, or never will."""
    made = Load(nodes, people, clients=clients, pause=pause)
    listening = [asyncio.create_task(recorder.run()) for recorder in made.recorders]
    writing: list[asyncio.Task[None]] = []
    try:
        async with asyncio.timeout(WHOLE_SECONDS):
            await asyncio.gather(*(recorder.ready.wait() for recorder in made.recorders))
        writing = [asyncio.create_task(writer.run()) for writer in made.writers]
        yield made
        for writer in made.writers:
            writer.over = True
        async with asyncio.timeout(WHOLE_SECONDS):
            await asyncio.gather(*writing)
        with suppress(TimeoutError):
            await eventually(lambda: not made.count().missing, WHOLE_SECONDS)
    finally:
        for task in (*listening, *writing):
            task.cancel()
        await asyncio.gather(*listening, *writing, return_exceptions=True)
