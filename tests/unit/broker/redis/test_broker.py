"""What ``RedisBroker`` adds to the contract: how it publishes and counts, and what a fault leaves behind."""

import asyncio
import datetime as dt
import ipaddress
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.support.broker_rig import ACME, ANN, BOB, STRANGER, event
from tests.support.processes import free_port
from tests.support.proxy import proxy
from tests.support.redis import RedisServer, serving
from tests.support.redis_node import QUICK, Node, node, publish_numbers, until
from tidings.broker.base import BrokerUnavailable
from tidings.domain.channel import job_channel
from tidings.domain.event import Event, EventClass
from tidings.domain.people import TenantId
from tidings.metrics import broker_connects, events_published

PATIENT = replace(QUICK, patience=20.0)
"""For those that no fault is made to: a machine that has other things to do is none."""


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with serving() as server:
        yield server


@pytest.fixture
async def one(redis: RedisServer) -> AsyncIterator[Node]:
    redis.say("FLUSHALL")
    async with node(redis.url, PATIENT) as made:
        yield made


class TestPublish:
    async def test_many_events_of_many_tenants(self, one: Node) -> None:
        """A batch of any size, in the order given; the positions come back in the same order."""
        batch = [
            (job_channel(TenantId(f"tenant-{number % 7}"), "x"), event(str(number))) for number in range(2000)
        ]
        positions = await one.broker.publish(batch)
        assert [position.offset for position in positions] == [number // 7 + 1 for number in range(2000)]

    async def test_counted(self, one: Node) -> None:
        """Each event that is published is counted under its name; a repetition is not."""
        counter = events_published.labels("notification:new")
        before = counter._value.get()
        await publish_numbers(one.broker, ANN, range(3))
        await publish_numbers(one.broker, ANN, range(3))
        assert counter._value.get() - before == 3

    async def test_measured(self, one: Node) -> None:
        """What happened is added to the metrics once."""
        before = broker_connects._value.get()
        assert one.broker.counts.connects > 0
        for _ in range(2):
            one.broker.measure()
            assert broker_connects._value.get() - before == one.broker.counts.connects

    async def test_flushed_scripts(self, redis: RedisServer, one: Node) -> None:
        """SCRIPT FLUSH costs one more round trip and is noticed by nobody."""
        redis.say("SCRIPT", "FLUSH")
        assert (await one.broker.publish([(ANN, event())]))[0].offset == 1
        redis.say("SCRIPT", "FLUSH")
        assert (await one.broker.position(ACME)).offset == 1

    async def test_too_long(self, one: Node) -> None:
        """An event that cannot be written down is the caller's fault, and nothing of the batch is published."""
        with pytest.raises(ValueError, match="too long"):
            await one.broker.publish([(ANN, event()), (ANN, Event("n" * 300, b"", EventClass.STATE))])
        assert (await one.broker.position(ACME)).offset == 0

    async def test_refused(self, redis: RedisServer, one: Node) -> None:
        """What Redis refuses for want of memory is refused, and turns ``healthy`` red while it lasts."""
        redis.say("CONFIG", "SET", "maxmemory", 1)
        try:
            with pytest.raises(BrokerUnavailable, match="OOM"):
                await one.broker.publish([(ANN, event())])
            await until(lambda: not one.broker.healthy())
        finally:
            redis.say("CONFIG", "SET", "maxmemory", 0)
        await until(one.broker.healthy)
        assert one.broker.counts.connects == 1

    async def test_cancelled(self, one: Node) -> None:
        """A publish or a read that is given up leaves nothing behind for the next."""
        tasks = [asyncio.create_task(one.broker.publish([(ANN, event())])) for _ in range(50)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        positions = [task.result() for task in tasks[1::2]]
        assert len({position.offset for [position] in positions}) == 25
        assert one.broker.counts.connects == 1


class TestWhisper:
    async def test_away(self, redis: RedisServer) -> None:
        """A whisper while Redis is away is lost, and one when it is back is heard."""
        async with proxy(redis.port) as gate, node(f"redis://127.0.0.1:{gate.port}", PATIENT) as one:
            await one.broker.subscribe([ANN])
            gate.closed = True
            gate.cut()
            await until(lambda: not one.broker.connections)
            one.broker.whisper(ANN, event("0"))
            assert one.broker.counts.unheard == 1
            gate.closed = False
            await until(one.broker.healthy)
            one.broker.whisper(ANN, event("1"))
            await one.heard(ANN, 1)
            assert one.numbers(ANN) == [1]

    async def test_refused(self, redis: RedisServer, one: Node) -> None:
        """What Redis refuses to whisper is counted, and nobody's business."""
        redis.say("ACL", "SETUSER", "default", "-spublish")
        try:
            await one.broker.subscribe([ANN])
            one.broker.whisper(ANN, event("0"))
            await one.broker.position(ACME)
        finally:
            redis.say("ACL", "SETUSER", "default", "+spublish")
        one.broker.whisper(ANN, event("1"))
        await one.heard(ANN, 1)
        assert (one.numbers(ANN), one.broker.counts.connects) == ([1], 1)
        assert one.broker.counts.unheard == 1


class TestSubscribe:
    async def test_a_storm(self, one: Node) -> None:
        """Many who join at once share a few round trips, and all of them hear."""
        channels = [job_channel(ACME, str(number)) for number in range(500)]
        await asyncio.gather(*(one.broker.subscribe([channel, ANN]) for channel in channels))
        await one.broker.publish([(channel, event()) for channel in [*channels, ANN]])
        await one.broker.position(ACME)
        assert len(one.told) == 501

    async def test_the_second_waits_for_the_first(self, redis: RedisServer) -> None:
        """*Subscribed means hearing* for whoever comes while a subscription begins, though the first gives up."""
        async with proxy(redis.port) as gate, node(f"redis://127.0.0.1:{gate.port}") as one:
            gate.pipes[1].flows.clear()
            first, second = (asyncio.create_task(one.broker.subscribe([ANN])) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([second], timeout=0.05)
            assert not second.done()
            gate.pipes[1].flows.set()
            await second
            await one.broker.publish([(ANN, event())])
            await one.broker.position(ACME)
            assert len(one.told) == 1

    async def test_nothing_is_counted_that_failed(self, redis: RedisServer) -> None:
        """``BrokerUnavailable``: who tries again has one subscription, and ends it with one ``unsubscribe``."""
        async with proxy(redis.port) as gate, node(f"redis://127.0.0.1:{gate.port}") as one:
            gate.closed = True
            gate.cut()
            await until(lambda: not one.broker.healthy())
            for _ in range(3):
                with pytest.raises(BrokerUnavailable):
                    await one.broker.subscribe([ANN, BOB])
            gate.closed = False
            await until(one.broker.healthy)
            await one.broker.subscribe([ANN])
            await one.broker.unsubscribe([ANN])
            await one.broker.publish([(ANN, event()), (BOB, event())])
            await one.broker.position(ACME)
            assert one.told == []

    async def test_left_and_entered_again(self, one: Node) -> None:
        """However quickly a channel is left and heard again, it is heard."""
        for _ in range(20):
            await one.broker.subscribe([ANN])
            await one.broker.unsubscribe([ANN])
        await one.broker.subscribe([ANN])
        await one.broker.publish([(ANN, event()), (STRANGER, event())])
        await one.broker.position(ACME)
        assert [published.channel for published in one.told] == [ANN]

    async def test_nothing_stays(self, one: Node) -> None:
        """Whoever left leaves nothing behind."""
        channels = [job_channel(TenantId(f"tenant-{number}"), "x") for number in range(50)]
        await one.broker.subscribe(channels)
        await one.broker.unsubscribe([*channels, ANN])
        assert (one.broker._channels, one.broker._hearings) == ({}, {})
        [shard] = one.broker._started().all()
        assert list(shard.tuner.hearings) == [shard.probe]


class TestClose:
    async def test_whoever_waits_is_told(self, redis: RedisServer) -> None:
        """Graceful: no connection stays, and nobody waits any longer."""
        async with proxy(redis.port) as gate, node(f"redis://127.0.0.1:{gate.port}") as one:
            gate.pipes[1].flows.clear()
            waiting = asyncio.create_task(one.broker.subscribe([ANN]))
            await asyncio.sleep(0)
            await one.broker.close()
            with pytest.raises(BrokerUnavailable):
                await waiting
            assert one.broker.connections == 0
            await until(lambda: gate.pipes == [])

    async def test_started_again(self, one: Node) -> None:
        """What was closed can be started again."""
        await one.broker.close()
        await one.broker.start(one.told.append)
        assert one.broker.healthy()


class TestTls:
    async def test_rediss(self, tmp_path: Path) -> None:
        """rediss:// with a certificate authority of one's own, and a password."""
        certify(tmp_path)
        port = free_port()
        options = (
            *("--tls-port", str(port), "--requirepass", "secret", "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(tmp_path / "cert"), "--tls-key-file", str(tmp_path / "key")),
            *("--tls-ca-cert-file", str(tmp_path / "cert")),
        )
        with serving(options=options):
            async with node(f"rediss://:secret@127.0.0.1:{port}?ca={tmp_path / 'cert'}") as one:
                await one.broker.subscribe([ANN])
                await publish_numbers(one.broker, ANN, range(3))
                await one.heard(ANN, 2)
            async with node(f"rediss://:secret@127.0.0.1:{port}") as stranger:
                with pytest.raises(BrokerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
                    await stranger.broker.position(ACME)


def certify(folder: Path) -> None:
    """Make a key and a certificate for this machine, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = dt.datetime.now(dt.UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(here, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
