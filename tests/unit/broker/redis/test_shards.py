"""Where tenants live: a cluster whose slots move and whose servers die, and a leader that sentinels replace."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from tests.support.broker_rig import ACME, ANN, event
from tests.support.redis import Arrangement, RedisServer, cluster, sentinel
from tests.support.redis_node import Node, node, publish_numbers, until
from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.layout import SLOTS, slot
from tidings.domain.channel import Channel, tenant_channel
from tidings.domain.people import TenantId

STEP = SLOTS // 3 + 1


@pytest.fixture(scope="module")
def servers() -> Iterator[Arrangement]:
    with cluster() as arrangement:
        yield arrangement


@pytest.fixture
async def listener(servers: Arrangement) -> AsyncIterator[Node]:
    servers.flush()
    async with node(servers.url) as made:
        yield made


@pytest.fixture
async def publisher(servers: Arrangement) -> AsyncIterator[Node]:
    async with node(servers.url) as made:
        yield made


def living_at(number: int, apart: str = "") -> Channel:
    """A channel of a tenant whose home is that server of the cluster."""
    names = (TenantId(f"tenant{apart}-{each}") for each in range(SLOTS))
    return tenant_channel(next(name for name in names if slot(name) // STEP == number))


class TestCluster:
    async def test_everywhere_at_once(self, listener: Node, publisher: Node) -> None:
        """Tenants on every server, in one batch; two connections for each server."""
        channels = [living_at(number) for number in range(3)]
        await listener.broker.subscribe(channels)
        await publisher.broker.publish([(channel, event("1")) for channel in channels])
        for channel in channels:
            await listener.heard(channel, 1)
        assert listener.broker.connections == 6

    async def test_one_server_stops(self, servers: Arrangement, listener: Node, publisher: Node) -> None:
        """Who lives elsewhere does not notice; who lives there is served again when it is back."""
        there, elsewhere = living_at(0), living_at(1)
        await listener.broker.subscribe([there, elsewhere])
        servers.servers[0].child.send(signal.SIGSTOP)
        try:
            await until(lambda: not listener.broker.healthy())
            with pytest.raises(BrokerUnavailable):
                await publisher.broker.publish([(there, event("1"))])
            await publish_numbers(publisher.broker, elsewhere, range(5))
            await listener.heard(elsewhere, 4)
        finally:
            servers.servers[0].child.send(signal.SIGCONT)
        await publish_numbers(publisher.broker, there, range(1, 5))
        await listener.heard(there, 4)
        assert listener.numbers(there)[-4:] == [1, 2, 3, 4]
        assert listener.numbers(elsewhere) == [*range(5)]

    async def test_moved_slot(self, servers: Arrangement, listener: Node, publisher: Node) -> None:
        """A slot that is given to another server takes its tenant along, who is told that the counter began anew."""
        moving = living_at(2, "-moving")
        await listener.broker.subscribe([moving])
        await publish_numbers(publisher.broker, moving, range(3))
        await listener.heard(moving, 2)
        move(servers.servers[2], servers.servers[0], slot(moving.tenant))
        await until(lambda: listener.lost == [moving])
        await publish_numbers(publisher.broker, moving, range(3, 6))
        await listener.heard(moving, 5)
        assert listener.numbers(moving) == [*range(6)]
        assert listener.lost == [moving]

    async def test_out_of_reach(self) -> None:
        """While nobody knows the map, everything is refused within a bounded time."""
        async with node("redis+cluster://127.0.0.1:1") as lonely:
            with pytest.raises(BrokerUnavailable):
                await lonely.broker.publish([(ANN, event())])
            with pytest.raises(BrokerUnavailable):
                await lonely.broker.subscribe([ANN])
            assert not lonely.broker.healthy()

    async def test_the_map_is_asked_for_ever_more_rarely(self) -> None:
        """While no server answers the pauses double, and the log has one line of it."""
        asked: list[float] = []

        def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(time.monotonic())
            writer.close()

        async with await asyncio.start_server(refuse, "127.0.0.1") as server:
            port = server.sockets[0].getsockname()[1]
            with capture_logs() as lines:
                async with node(f"redis+cluster://127.0.0.1:{port}"):
                    await until(lambda: len(asked) >= 6)
        # At least half of 50, 100, 200, 400 and 800 ms.
        assert asked[5] - asked[0] > 0.75
        warned = [line for line in lines if line["log_level"] != "debug"]
        assert [line["event"] for line in warned] == ["cluster_map_unknown"]


class TestSentinel:
    async def test_failover(self) -> None:
        """The leader dies: what was refused meanwhile is published by the next one, under a new epoch."""
        with sentinel() as servers:
            [leader], [follower] = servers.servers, servers.followers
            async with node(servers.url) as listener:
                await listener.broker.subscribe([ANN])
                await publish_numbers(listener.broker, ANN, range(3))
                await listener.heard(ANN, 2)
                old = await listener.broker.position(ACME)
                leader.child.send(signal.SIGKILL)
                assert await publish_numbers(listener.broker, ANN, [3]) > 0
                await until(lambda: listener.lost == [ANN])
                await publish_numbers(listener.broker, ANN, [4, 5])
                await listener.heard(ANN, 5)
                assert "'role': 'master'" in follower.say("INFO", "replication")
                # Whether the third came before or behind the loss, which says that one has to look, is open.
                assert listener.numbers(ANN) in ([0, 1, 2, 3, 4, 5], [0, 1, 2, 4, 5])
                assert not (await listener.broker.read([ANN], old)).complete

    async def test_one_names_a_server_that_does_not_lead(self) -> None:
        """A sentinel that has not heard of a failover: the next one is asked."""
        with sentinel() as servers:
            stale = servers.followers[0].port

            async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await reader.read(1)
                writer.write(f"*2\r\n$9\r\n127.0.0.1\r\n${len(str(stale))}\r\n{stale}\r\n".encode())
                await reader.read()
                writer.close()

            async with await asyncio.start_server(answer, "127.0.0.1") as behind:
                port = behind.sockets[0].getsockname()[1]
                url = servers.url.replace("redis+sentinel://", f"redis+sentinel://127.0.0.1:{port},")
                async with node(url) as one:
                    await until(one.broker.healthy)
                    assert await publish_numbers(one.broker, ANN, [1]) == 0

    async def test_nobody_knows_the_leader(self) -> None:
        """Sentinels that are out of reach: refused within a bounded time."""
        async with node("redis+sentinel://127.0.0.1:1/leader") as lonely:
            with pytest.raises(BrokerUnavailable, match="cannot be reached"):
                await lonely.broker.position(ACME)


def move(here: RedisServer, there: RedisServer, number: int) -> None:
    """Give a slot and what is in it to another server."""
    ids = {server.port: server.say("CLUSTER", "MYID")[2:-1] for server in (here, there)}
    there.say("CLUSTER", "SETSLOT", number, "IMPORTING", ids[here.port])
    here.say("CLUSTER", "SETSLOT", number, "MIGRATING", ids[there.port])
    for key in here.say("CLUSTER", "GETKEYSINSLOT", number, 100).split("'")[1::2]:
        here.say("MIGRATE", "127.0.0.1", there.port, key, 0, 5000)
    for server in (there, here):
        server.say("CLUSTER", "SETSLOT", number, "NODE", ids[there.port])
