"""What Redis gives a node whose users are many, and a node with no user of the tenant that is busy.

Two nodes on one Redis and one PostgreSQL, each behind a tap. Users post at ``home``; ``away`` has clients of another
tenant, and then a crowd whose events come from ``home``. Everything is posted over REST and so takes the whole path
of a notification: the database, its outbox, the broker.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from redis.asyncio import Redis

from bench.harness.process import BenchmarkError
from bench.harness.run import Rig
from bench.harness.servers import RunningServer, serving, tidings_server
from bench.jobs.postgres_server import postgres_server
from bench.nodes.crowd import crowd
from bench.nodes.figures import CrowdFigures, ForeignFigures
from bench.nodes.people import notify_each, notify_end, settle
from bench.nodes.redis_server import port_of, redis_server
from bench.nodes.tap import Tap, tapped
from tidings.broker.redis.layout import tenant_key
from tidings.domain.ids import new_id
from tidings.domain.people import TenantId

NEIGHBOURS = 20
"""Users of each tenant, all of them connected, while one tenant posts."""


@dataclass(frozen=True, slots=True)
class Place:
    """A node, and its wire to Redis."""

    node: RunningServer
    tap: Tap

    @property
    def port(self) -> int:
        return self.node.serving.port


@dataclass(frozen=True, slots=True)
class House:
    """Two nodes. The taps listen for the channels of ``tenant``, whose people are not there yet."""

    home: Place
    away: Place
    redis: Redis
    database: str
    tenant: TenantId


@contextlib.asynccontextmanager
async def house(rig: Rig) -> AsyncIterator[House]:
    """Begin both nodes. ``away`` has a core of its own, everything else shares the other one.

    Raises:
        BenchmarkError: a program failed.
    """
    tenant = TenantId(new_id())
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(dir=rig.folder)))
        redis = await stack.enter_async_context(redis_server(folder, cpu=rig.client_cpu))
        database = await stack.enter_async_context(postgres_server(cpu=rig.client_cpu))

        async def begin(cpu: int) -> Place:
            word = f"{tenant_key(0, tenant)}/".encode()
            tap, port = await stack.enter_async_context(tapped(port_of(redis), word))
            options = ("--folder", str(folder), "--database", database)
            server = tidings_server("--redis", f"redis://127.0.0.1:{port}/0", *options)
            return Place(await stack.enter_async_context(serving(server, cpu=cpu, folder=folder)), tap)

        home, away = await begin(rig.client_cpu), await begin(rig.server_cpu)
        yield House(home, away, redis, database, tenant)


async def measure_foreign(there: House, *, posts: int) -> ForeignFigures:
    """Users of the house's tenant are connected to ``home`` and post there; those of another one are at ``away``.

    Raises:
        BenchmarkError: a client was refused or cut off, or was not told exactly what it should have been.
    """
    home, away = there.home, there.away
    busy = await settle(there.database, there.tenant, NEIGHBOURS)
    quiet = await settle(there.database, TenantId(new_id()), NEIGHBOURS)
    async with crowd(home.port, busy.users) as insiders, crowd(away.port, quiet.users) as outsiders:
        await away.node.quiet()
        heard = home.tap.heard
        home_cpu, away_cpu = home.node.cpu_seconds(), away.node.cpu_seconds()
        began = time.monotonic()
        ids = await notify_each(home.port, list(islice(cycle(busy.users), posts)))
        await notify_end(home.port, busy)
        told = await insiders.told()
        seconds = time.monotonic() - began
        home_cpu, away_cpu = home.node.cpu_seconds() - home_cpu, away.node.cpu_seconds() - away_cpu
        await notify_end(away.port, quiet)  # so that what was on its way before has arrived
        if any(await outsiders.told()) or list(map(sorted, told)) != _by_user(ids):
            raise BenchmarkError("a client was not told exactly what was posted for it")
        return ForeignFigures(
            posted=posts,
            home_messages=home.tap.heard - heard,
            home_cpu_ms=home_cpu * 1000,
            foreign_messages=away.tap.heard,
            foreign_cpu_ms=away_cpu * 1000,
            rest_cpu_ms=await _resting(away.node, seconds) * 1000,
        )


async def measure_crowd(there: House, *, clients: int) -> CrowdFigures:
    """All are connected to ``away``, and each posts one notification for themself at ``home``.

    Raises:
        BenchmarkError: a client was refused or cut off.
    """
    people = await settle(there.database, TenantId(new_id()), clients)
    async with crowd(there.away.port, people.users) as many:
        ids = await notify_each(there.home.port, people.users)
        await notify_end(there.home.port, people)
        told = await many.told()
        return CrowdFigures(
            clients=clients,
            told=sum(heard == [own] for heard, own in zip(told, ids, strict=True)),
            crowd_redis_connections=await _connections(there.redis, there.away.tap),
        )


async def _resting(node: RunningServer, seconds: float) -> float:
    """The processor seconds that a node uses in so long a time in which nobody wants anything of it."""
    await node.quiet()
    used = node.cpu_seconds()
    await asyncio.sleep(seconds)
    return node.cpu_seconds() - used


async def _connections(redis: Redis, tap: Tap) -> int:
    """Of one node, as Redis sees them."""
    return sum(client["addr"] in tap.addresses for client in await redis.client_list())


def _by_user(ids: Sequence[str]) -> list[list[str]]:
    """What each of the neighbours has posted."""
    return [sorted(ids[first::NEIGHBOURS]) for first in range(NEIGHBOURS)]
