"""Contract, sections 1 and 9: servers on a Redis Cluster, and on a leader that sentinels watch, are one to their users."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import cycle
from pathlib import Path

import pytest

from tests.support import redis
from tests.support.faults import load
from tests.support.processes import wait_until
from tests.support.redis import Arrangement
from tests.support.server import Person, Server, eventually, serving
from tests.support.sockets import Socket, ready
from tidings.domain.people import Role

AROUND = 10
"""How many notifications each user has accepted before, amid and after the failover."""


@contextmanager
def two(folder: Path, arrangement: Arrangement) -> Iterator[tuple[Server, Server]]:
    """Two servers that can serve."""
    settings = {"broker_url": arrangement.url}
    with serving(folder, settings) as here, serving(folder, settings) as there:
        for node in (here, there):
            wait_until(partial(answers, node))
        yield here, there


class Both:
    """Clients come to either."""

    def __init__(self, servers: tuple[Server, Server]) -> None:
        self._turns = cycle(servers)

    def any(self) -> Server:
        return next(self._turns)


def answers(node: Server) -> bool:
    return node.get("/readyz").status_code == 200


async def post(node: Server, person: Person, *titles: str) -> None:
    async with node.http(person) as client:
        for title in titles:
            answer = await client.post("/notifications", json={"title": title, "content": "News."})
            assert answer.status_code == 201, answer.text


async def told(socket: Socket, count: int) -> list[str]:
    return [(await socket.event("notification:new"))["notification"]["title"] for _ in range(count)]


@pytest.mark.parametrize("arrange", [redis.cluster, redis.sentinel])
async def test_one_to_their_users(
    tmp_path: Path, arrange: Callable[[], AbstractContextManager[Arrangement]]
) -> None:
    """ "``redis+cluster://``, ``redis+sentinel://``": what one server accepts arrives at the other, whichever
    server of a cluster keeps that tenant.
    """
    with arrange() as arrangement, two(tmp_path, arrangement) as (here, there):
        for _ in range(4):
            user = await here.person()
            async with ready(there, user) as socket:
                await post(here, user, "1", "2", "3")
                assert await told(socket, 3) == ["1", "2", "3"]


@pytest.mark.chaos
async def test_the_leader_dies(tmp_path: Path) -> None:
    """ "What was accepted is kept in the database's outbox and delivered in order when it returns": who follows
    leads then. The last that the dead one said may be lost with it, so clients "are told honestly that they
    cannot resume", as after a flush: they read their inbox, and hear all that is accepted from then on.
    """
    with redis.sentinel() as arrangement, two(tmp_path, arrangement) as both:
        async with load(Both(both), await both[0].people(Role.USER, Role.USER), pause=0.1) as made:
            await made.accepted(AROUND)
            arrangement.servers[0].child.send(signal.SIGKILL)
            await made.accepted(AROUND)
            await eventually(lambda: all(recorder.refused for recorder in made.recorders))
            for node in both:
                await eventually(partial(answers, node))
            await made.accepted(AROUND)
    assert made.count().kept, made.count()
    assert made.count().honest, made.count()
    assert all(recorder.chains[-1] for recorder in made.recorders)
