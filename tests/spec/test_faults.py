"""Contract, section 9: what is promised under fault, counted at recording clients while real processes fail.

Two nodes, a Redis and a PostgreSQL. Users post numbered notifications through the fault as good clients do,
repeating a post under its idempotency key until it is answered; their clients stay connected to whichever node
answers. ``make chaos`` runs the same longer, with more users, and prints what was counted.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator

import pytest

from tests.support.faults import House, Load, house, load
from tests.support.server import eventually

pytestmark = pytest.mark.chaos

CHAOS = os.environ.get("TIDINGS_CHAOS") == "full"
ROUNDS = 10 if CHAOS else 1
PEOPLE = 20 if CHAOS else 4
AROUND = 20 if CHAOS else 10
"""How many notifications each user has accepted before, between and after the faults."""

Fault = Callable[[House], Awaitable[None]]
Through = Callable[[Fault], Awaitable[Load]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("house")) as made:
        yield made


async def _killed(home: House) -> None:
    assert await home.replace(home.nodes[0], signal.SIGKILL) == -signal.SIGKILL


async def _restarted(home: House) -> None:
    """A rolling restart."""
    for node in list(home.nodes):
        assert await home.replace(node, signal.SIGTERM) == 0


async def _redis_cut(home: House) -> None:
    home.cut_redis()


async def _redis_paused(home: House) -> None:
    await home.pause_redis(3.0)


async def _redis_flushed(home: House) -> None:
    home.redis.say("FLUSHALL")


async def _redis_restarted(home: House) -> None:
    await home.restart_redis()


async def _postgres_cut(home: House) -> None:
    await home.cut_postgres()


async def _postgres_crashed(home: House) -> None:
    await home.crash_postgres(1.0)


async def _postgres_stalled(home: House) -> None:
    await home.stall_postgres(1.5)


@pytest.fixture
def through(home: House, record_property: Callable[[str, object], None]) -> Through:
    """Let a fault come upon a load, again and again; what was counted is printed. Whatever the fault, all that
    was accepted arrives and stands in the database, and who posts hears 201 or 503 alone.
    """

    async def run(fault: Fault) -> Load:
        async with load(home, await home.people(PEOPLE)) as made:
            await made.accepted(AROUND)
            for _ in range(ROUNDS):
                await fault(home)
                await made.accepted(AROUND)
        record_property("counted", str(made.count()))
        assert made.count().kept, made.count()
        assert made.count().honest, made.count()
        assert await home.written(made.people) == made.titles
        return made

    return run


@pytest.mark.parametrize("fault", [_killed, _restarted])
async def test_a_node_goes(through: Through, fault: Fault) -> None:
    """ "its clients reconnect anywhere and recover; nothing accepted is lost, nothing is delivered twice to a
    recovering client"; SIGTERM: "accepted work finished or handed back, exit 0 within 30 s".
    """
    made = await through(fault)
    assert made.count().recovered > 0
    assert made.count().refused == 0


@pytest.mark.parametrize("fault", [_redis_cut, _redis_paused])
async def test_redis_is_away(through: Through, fault: Fault) -> None:
    """ "what was accepted is kept in the database's outbox and delivered in order when it returns"."""
    made = await through(fault)
    assert made.count().refused == 0


async def test_clients_are_told(home: House) -> None:
    """ "clients are told ``degraded``, then ``ok``"."""
    # Who comes while a node is degraded is told so; here it shall be news.
    await eventually(lambda: not any(node.gauge("tidings_degraded") for node in home.nodes))
    async with load(home, await home.people(PEOPLE)) as made:
        home.redis.child.send(signal.SIGSTOP)
        try:
            await eventually(lambda: all(each.states == ["degraded"] for each in made.recorders))
        finally:
            home.redis.child.send(signal.SIGCONT)
        await eventually(lambda: all(each.states == ["degraded", "ok"] for each in made.recorders))


@pytest.mark.parametrize("fault", [_redis_flushed, _redis_restarted])
async def test_redis_forgets(through: Through, fault: Fault) -> None:
    """ "a flush changes the epoch and clients are told honestly that they cannot resume": they read their inbox."""
    made = await through(fault)
    assert made.count().refused > 0


@pytest.mark.parametrize("fault", [_postgres_cut, _postgres_crashed, _postgres_stalled])
async def test_the_database_is_away(through: Through, fault: Fault) -> None:
    """ "writes answer 503", with ``Retry-After``, and nothing else but 201; "live connections stay, nothing
    half-written": each notification that was accepted stands in the database once, and no other does.
    """
    made = await through(fault)
    assert made.count().recovered == made.count().refused == 0


async def test_everything_at_once(through: Through) -> None:
    """A node is killed while Redis stands still and the database loses its connections."""

    async def storm(home: House) -> None:
        await asyncio.gather(_redis_paused(home), _killed(home), _postgres_cut(home))

    await through(storm)
