"""A leading server, reached and examined."""

from collections.abc import Iterator

import pytest

from tests.support.broker_rig import ACME, ANN, event
from tests.support.redis import RedisServer, serving
from tests.support.redis_node import QUICK, node
from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.address import Target, parse
from tidings.broker.redis.ledger import Ledger
from tidings.broker.redis.link import LinkLost, Refused
from tidings.broker.redis.server import Server, reach


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with serving() as server:
        yield server


async def reached(target: Target) -> Server:
    return await reach(target.addresses[0], target, lambda _: None, QUICK.patience)


async def test_named(redis: RedisServer) -> None:
    """``CLIENT LIST`` shows which connection is which; both are gone once closed."""
    server = await reached(parse(redis.url))
    clients = redis.say("CLIENT", "LIST")
    assert ("tidings-commands" in clients, "tidings-events" in clients) == (True, True)
    assert server.connections == 2
    await server.close()
    assert server.connections == 0


async def test_one_lost_is_both_lost(redis: RedisServer) -> None:
    """The two live and die together, and say why."""
    server = await reached(parse(redis.url))
    await server.passed()
    server.cut("the reason")
    for asked in (server.over(), server.passed()):
        with pytest.raises(LinkLost, match="the reason"):
            await asked
    await server.close()


async def test_a_follower_is_refused(redis: RedisServer) -> None:
    """Only a server that leads is served from."""
    with (
        serving(options=("--replicaof", f"127.0.0.1 {redis.port}")) as follower,
        pytest.raises(LinkLost, match="does not lead"),
    ):
        await reached(parse(follower.url))


async def test_one_that_follows_from_now_on(redis: RedisServer) -> None:
    """A server that answers READONLY is let go of."""
    with serving() as server:
        made = await reached(parse(server.url))
        server.say("REPLICAOF", "127.0.0.1", redis.port)
        with pytest.raises(Refused) as raised:
            await made.run(Ledger(0, QUICK).publish(ACME, [(ANN, event())]))
        made.refused(raised.value)
        with pytest.raises(LinkLost, match="READONLY"):
            await made.over()
        await made.close()


async def test_databases_are_apart(redis: RedisServer) -> None:
    """Two installations in two databases of one Redis hear nothing of each other."""
    here, there = (redis.url.removesuffix("0") + number for number in "12")
    async with node(here) as one, node(there) as other:
        for each in (one, other):
            await each.broker.subscribe([ANN])
        await one.broker.publish([(ANN, event())])
        assert (await one.broker.position(ACME)).offset == 1
        assert (await other.broker.position(ACME)).offset == 0
        assert (len(one.told), other.told, other.lost) == (1, [], [])


async def test_no_server() -> None:
    """Where nothing listens, that is said."""
    with pytest.raises(BrokerUnavailable, match="cannot be reached"):
        await reached(parse("redis://127.0.0.1:1"))
