"""What a node makes of the faults of its Redis, on real servers: repaired in order, or said to be lost."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.broker_rig import ACME, ANN, BOB, STRANGER, event
from tests.support.proxy import Proxy, proxy
from tests.support.redis import RedisServer, serving
from tests.support.redis_node import QUICK, Node, node, publish_numbers, until
from tidings.broker.base import BrokerUnavailable, Limits
from tidings.broker.redis.broker import RedisBroker
from tidings.broker.redis.ledger import Terms
from tidings.domain.channel import Channel, job_channel

COUNT = 200


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_yet(redis: RedisServer) -> None:
    redis.say("FLUSHALL")


@pytest.fixture
async def gate(redis: RedisServer) -> AsyncIterator[Proxy]:
    async with proxy(redis.port) as made:
        yield made


@pytest.fixture
async def listener(gate: Proxy) -> AsyncIterator[Node]:
    """A node behind the proxy."""
    async with node(f"redis://127.0.0.1:{gate.port}") as made:
        yield made


@pytest.fixture
async def publisher(redis: RedisServer) -> AsyncIterator[Node]:
    """Another node, whose way to Redis is undisturbed."""
    async with node(redis.url) as made:
        yield made


def kill_connection(redis: RedisServer, name: str) -> None:
    """``CLIENT KILL`` whatever has that name, on every node."""
    for client in redis.say("CLIENT", "LIST").split("id=")[1:]:
        if f"name={name} " in client or f"'{name}'" in client:
            redis.say("CLIENT", "KILL", "ID", client.split()[0])


class TestCut:
    async def test_missed_events_are_repaired_in_order(
        self, gate: Proxy, listener: Node, publisher: Node
    ) -> None:
        """Everything missed meanwhile is repaired from history in order, over all channels of the tenant."""
        await listener.broker.subscribe([ANN, BOB])
        await publish_numbers(publisher.broker, ANN, range(10))
        await listener.heard(ANN, 9)
        gate.closed = True
        gate.cut()
        await until(lambda: not listener.broker.healthy())
        for number in range(10, 20):
            await publish_numbers(publisher.broker, ANN, [number])
            await publish_numbers(publisher.broker, BOB, [number])
        gate.closed = False
        await listener.heard(BOB, 19)
        assert listener.numbers(ANN) == [*range(20)]
        assert listener.numbers(BOB) == [*range(10, 20)]
        assert listener.in_order()
        assert listener.lost == []
        assert listener.broker.counts.repaired == 20

    async def test_in_full_flow(self, gate: Proxy, listener: Node, publisher: Node) -> None:
        """Cut again and again while events flow: each is told once, in order."""
        await listener.broker.subscribe([ANN])
        flow = asyncio.create_task(publish_numbers(publisher.broker, ANN, range(COUNT)))
        for number in range(0, COUNT, COUNT // 5):
            await listener.heard(ANN, number)
            gate.cut()
        await flow
        await listener.heard(ANN, COUNT - 1)
        assert listener.numbers(ANN) == [*range(COUNT)]
        assert listener.lost == []

    @pytest.mark.parametrize("name", ["tidings-commands", "tidings-events"])
    async def test_killed_connection(self, redis: RedisServer, publisher: Node, name: str) -> None:
        """CLIENT KILL of either connection, of the node that publishes and hears: nothing lost, nothing twice."""
        await publisher.broker.subscribe([ANN])
        flow = asyncio.create_task(publish_numbers(publisher.broker, ANN, range(COUNT)))
        for number in range(0, COUNT, COUNT // 5):
            await publisher.heard(ANN, number)
            kill_connection(redis, name)
        await flow
        await publisher.heard(ANN, COUNT - 1)
        assert publisher.numbers(ANN) == [*range(COUNT)]
        assert publisher.lost == []
        assert publisher.broker.counts.connects > 3

    async def test_more_missed_than_the_history_holds(self, redis: RedisServer, gate: Proxy) -> None:
        """What history no longer holds cannot be repaired: that channel is lost, and only that one."""
        terms = Terms(Limits(events=5, seconds=60.0), patience=0.5, probe=0.1, audit=60.0)
        async with (
            node(f"redis://127.0.0.1:{gate.port}", terms) as listener,
            node(redis.url, terms) as publisher,
        ):
            await listener.broker.subscribe([ANN, BOB])
            gate.closed = True
            gate.cut()
            await until(lambda: not listener.broker.healthy())
            await publish_numbers(publisher.broker, ANN, range(6))
            await publish_numbers(publisher.broker, BOB, range(5))
            gate.closed = False
            await listener.heard(BOB, 4)
            assert listener.lost == [ANN]
            await publish_numbers(publisher.broker, ANN, [6])
            await listener.heard(ANN, 6)
            assert listener.numbers(ANN) == [6]
            assert listener.numbers(BOB) == [*range(5)]


class TestStall:
    async def test_read_waits_for_what_is_under_way(
        self, gate: Proxy, listener: Node, publisher: Node
    ) -> None:
        """What ``position`` returns of a subscribed channel was handed to ``deliver`` before, however slow that is."""
        await listener.broker.subscribe([ANN])
        gate.pipes[1].flows.clear()
        await publish_numbers(publisher.broker, ANN, range(3))
        position = asyncio.create_task(listener.broker.position(ACME))
        await asyncio.wait([position], timeout=0.05)
        assert not position.done()
        assert listener.told == []
        gate.pipes[1].flows.set()
        assert (await position).offset == 3
        assert listener.numbers(ANN) == [0, 1, 2]

    async def test_deaf(self, gate: Proxy, listener: Node, publisher: Node) -> None:
        """A probe finds a deaf subscription, turns ``healthy`` red meanwhile, and repairs it."""
        await listener.broker.subscribe([ANN])
        gate.pipes[1].flows.clear()
        await publish_numbers(publisher.broker, ANN, range(3))
        took = await until(lambda: not listener.broker.healthy())
        assert took < 2 * (QUICK.probe + QUICK.patience)
        await listener.heard(ANN, 2)
        await until(listener.broker.healthy)
        assert listener.numbers(ANN) == [0, 1, 2]
        assert listener.lost == []

    async def test_commands_time_out(self, gate: Proxy, listener: Node) -> None:
        """``BrokerUnavailable`` within a bounded time, of everything that can be asked."""
        for pipe in gate.pipes:
            pipe.flows.clear()
        gate.closed = True
        begun = time.monotonic()
        asked = (
            listener.broker.publish([(ANN, event())]),
            listener.broker.position(ACME),
            listener.broker.subscribe([ANN]),
        )
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(outcome).__mro__[-4] for outcome in outcomes] == [BrokerUnavailable] * 3
        assert time.monotonic() - begun < 3 * QUICK.patience

    async def test_stopped_server(self, redis: RedisServer) -> None:
        """SIGSTOP for 3 s: what was refused is published again under the same keys, and heard once, in order."""
        terms = Terms(QUICK.limits, patience=0.5, probe=0.1)
        async with node(redis.url, terms) as publisher:
            await publisher.broker.subscribe([ANN])
            flow = asyncio.create_task(publish_numbers(publisher.broker, ANN, range(COUNT)))
            await publisher.heard(ANN, 20)
            redis.child.send(signal.SIGSTOP)
            try:
                await until(lambda: not publisher.broker.healthy())
                await asyncio.sleep(3)
            finally:
                redis.child.send(signal.SIGCONT)
            assert await flow > 0
            await publisher.heard(ANN, COUNT - 1)
            assert publisher.numbers(ANN) == [*range(COUNT)]
            assert publisher.lost == []


class TestForgotten:
    async def test_flush(self, redis: RedisServer, publisher: Node) -> None:
        """FLUSHALL: the epoch changes, who hears is told, and an old position is refused."""
        await publisher.broker.subscribe([ANN, BOB])
        await publish_numbers(publisher.broker, ANN, range(3))
        old = await publisher.broker.position(ACME)
        redis.say("FLUSHALL")
        await publish_numbers(publisher.broker, ANN, range(5))
        await publisher.heard(ANN, 4)
        assert publisher.numbers(ANN) == [0, 1, 2, 0, 1, 2, 3, 4]
        assert sorted(publisher.lost) == [ANN, BOB]
        assert (await publisher.broker.position(ACME)).epoch != old.epoch
        assert not (await publisher.broker.read([ANN], old)).complete

    async def test_flush_that_nobody_publishes_after(self, redis: RedisServer, publisher: Node) -> None:
        """... is found by the audit."""
        await publisher.broker.subscribe([ANN])
        await publish_numbers(publisher.broker, ANN, [0])
        redis.say("FLUSHALL")
        await until(lambda: publisher.lost == [ANN])

    async def test_killed_and_restarted_empty(self) -> None:
        """kill -9 and a restart without persistence: refused meanwhile, then lost, and heard again."""
        with ExitStack() as stack:
            first = stack.enter_context(serving())
            async with node(first.url) as listener:
                await listener.broker.subscribe([ANN])
                await publish_numbers(listener.broker, ANN, range(3))
                old = await listener.broker.position(ACME)
                first.child.send(signal.SIGKILL)
                await until(lambda: not listener.broker.healthy())
                with pytest.raises(BrokerUnavailable):
                    await listener.broker.publish([(ANN, event("3", key="3"))])
                first.child.wait()
                stack.enter_context(serving(first.port))
                await until(listener.broker.healthy)
                await publish_numbers(listener.broker, ANN, [3])
                await listener.heard(ANN, 3)
                assert listener.numbers(ANN) == [0, 1, 2, 3]
                assert listener.lost == [ANN]
                assert not (await listener.broker.read([ANN], old)).complete

    async def test_restarted_with_what_it_had_saved(self, tmp_path: Path) -> None:
        """A restart that lost writes never lets an old position be resumed, though its data have that epoch."""
        with ExitStack() as stack:
            kept = ("--dir", str(tmp_path))
            first = stack.enter_context(serving(options=kept))
            async with node(first.url) as listener:
                await listener.broker.subscribe([ANN])
                await publish_numbers(listener.broker, ANN, range(3))
                first.say("SAVE")
                await publish_numbers(listener.broker, ANN, range(3, 6))
                old = await listener.broker.position(ACME)
                first.child.send(signal.SIGKILL)
                first.child.wait()
                again = stack.enter_context(serving(first.port, options=kept))
                assert old.epoch in again.say("KEYS", "*")
                await until(lambda: listener.lost == [ANN])
                await publish_numbers(listener.broker, ANN, range(6, 12))
                await listener.heard(ANN, 11)
                assert listener.numbers(ANN) == [*range(12)]
                assert not (await listener.broker.read([ANN], old)).complete

    async def test_silent_loss(self, publisher: Node) -> None:
        """A single message that the bus drops is found by the audit and told in order, before any later one."""
        await publisher.broker.subscribe([ANN, STRANGER])
        tuner = publisher.broker._shards.all()[0].tuner  # type: ignore[union-attr]  # it is started
        ear = tuner._ears.pop(tuner._ledger.name(ANN))
        await publish_numbers(publisher.broker, ANN, [0])
        await publish_numbers(publisher.broker, STRANGER, [0])
        # One connection brings both, in order: when the second is here, the first has been dropped.
        await publisher.heard(STRANGER, 0)
        tuner._ears[tuner._ledger.name(ANN)] = ear
        await publisher.heard(ANN, 0)
        assert publisher.numbers(ANN) == [0]
        assert publisher.broker.counts.repaired == 1


class TestConnections:
    async def test_two_whatever_is_subscribed(self, redis: RedisServer, publisher: Node) -> None:
        """Per process one for commands and one for subscriptions, whatever the number of channels and clients."""
        before = redis.say("CLIENT", "LIST").count("name")
        channels = [job_channel(ACME, str(number)) for number in range(2000)]
        await publisher.broker.subscribe(channels)
        assert redis.say("CLIENT", "LIST").count("name") == before
        assert publisher.broker.connections == 2

    async def test_subscribed_is_what_is_heard(self, redis: RedisServer, publisher: Node) -> None:
        """A tenant's traffic costs nothing on nodes where none of its users are: subscriptions are per channel."""
        await publisher.broker.subscribe([ANN])
        assert subscribed(redis, ANN)
        assert not subscribed(redis, BOB)
        await publisher.broker.unsubscribe([ANN])
        await until(lambda: not subscribed(redis, ANN))

    async def test_restored_in_batches(self, gate: Proxy, listener: Node) -> None:
        """After a reconnect all subscriptions are restored."""
        channels = [job_channel(ACME, str(number)) for number in range(1200)]
        await listener.broker.subscribe(channels)
        gate.cut()
        await until(lambda: not listener.broker.healthy())
        await until(listener.broker.healthy)
        await listener.broker.publish([(channel, event("1")) for channel in channels])
        await listener.broker.position(ACME)
        assert len(listener.told) == len(channels)

    async def test_refused(self) -> None:
        """Out of reach from the start: ``start`` returns, everything is refused at once, ``healthy`` is red."""
        async with proxy(1) as gate:
            gate.closed = True
            broker = RedisBroker(f"redis://127.0.0.1:{gate.port}", QUICK)
            await broker.start(lambda _: None)
            try:
                begun = time.monotonic()
                with pytest.raises(BrokerUnavailable):
                    await broker.position(ACME)
                assert time.monotonic() - begun < QUICK.patience
                assert not broker.healthy()
            finally:
                await broker.close()

    async def test_comes_later(self, redis: RedisServer) -> None:
        """A Redis that is reached later than the start is served as if it had always been there."""
        async with proxy(redis.port) as gate:
            gate.closed = True
            async with node(f"redis://127.0.0.1:{gate.port}") as listener:
                gate.closed = False
                await until(listener.broker.healthy)
                await listener.broker.subscribe([ANN])
                await publish_numbers(listener.broker, ANN, [1])
                await listener.heard(ANN, 1)


def subscribed(redis: RedisServer, channel: Channel) -> bool:
    return f"{channel.kind}/{channel.name}" in redis.say("PUBSUB", "SHARDCHANNELS")
