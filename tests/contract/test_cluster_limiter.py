"""What every ``Limiter`` promises, in one process and over many nodes, and the window against its reference."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.cluster_rig import Client, Cluster, cluster
from tests.support.identity_rig import HandClock
from tests.support.redis import RedisServer, serving
from tidings.broker.redis.link import Word
from tidings.broker.redis.script import Script
from tidings.cluster.limiter import RedisLimiter
from tidings.identity.limiter import Limiter, SlidingWindow, Verdict

NODES = 3
Step = tuple[str, int, str]


@dataclass
class Rig:
    """Limiters that count together, and the passing of time."""

    make: Callable[[int, float], list[Limiter]]
    advance: Callable[[float], None]


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with serving() as running:
        yield running


@pytest.fixture(params=["memory", "redis"])
async def rig(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[Rig]:
    if request.param == "memory":
        clock = HandClock()

        def advance(seconds: float) -> None:
            clock.now += seconds

        yield Rig(lambda points, seconds: [SlidingWindow(points, seconds, clock)] * NODES, advance)
    else:
        async with cluster(server) as nodes:
            yield Rig(lambda points, seconds: [*limiters(nodes, points, seconds)], nodes.advance)


def limiters(nodes: Cluster, points: int, seconds: float, count: int = NODES) -> Iterator[RedisLimiter]:
    for number in range(count):
        yield RedisLimiter(
            nodes.client(), f"n{number}", points, seconds, nodes=lambda: count, clock=nodes.clock
        )


class Post:
    """Keeps a client's answers with these numbers on their way until ``released``; one has ``arrived`` there."""

    def __init__(self, client: Client, kept: range) -> None:
        self.arrived, self.released = asyncio.Event(), asyncio.Event()
        self._kept = kept
        self._number = 0
        self._run = client.run
        client.run = self.run  # type: ignore[method-assign]

    async def run(self, script: Script, key: str | Sequence[str], *words: Word) -> object:
        reply = await self._run(script, key, *words)
        number, self._number = self._number, self._number + 1
        if number in self._kept:
            self.arrived.set()
            await self.released.wait()
        return reply


async def test_twenty_in_any_sixty_seconds_over_all_nodes(rig: Rig) -> None:
    """Contract, section 4: "20 client events in any 60 s and user, counted over ... all nodes"."""
    nodes = rig.make(20, 60)
    for count in range(20):
        assert await nodes[count % NODES].hit("u") == Verdict(True, 20, 19 - count, 60, 0)
        rig.advance(1)
    for node in nodes:
        assert await node.hit("u") == Verdict(False, 20, 0, 60, 40)
    rig.advance(39.5)
    assert await nodes[1].hit("u") == Verdict(False, 20, 0, 60, 1)
    rig.advance(0.5)
    assert (await nodes[2].hit("u")).allowed
    assert await nodes[0].hit("u") == Verdict(False, 20, 0, 60, 1)


async def test_no_burst_at_the_edge_of_a_window(rig: Rig) -> None:
    """Contract: "any 60 s" slides: what was sent at the end of one minute counts in the next."""
    nodes = rig.make(20, 60)
    rig.advance(59)
    assert all([(await nodes[0].hit("u")).allowed for _ in range(20)])
    rig.advance(2)
    assert not (await nodes[1].hit("u")).allowed


async def test_what_is_refused_does_not_count(rig: Rig) -> None:
    """Contract: "Events over the limit do not count towards the window"."""
    nodes = rig.make(1, 10)
    assert (await nodes[0].hit("u")).allowed
    for second in range(9):
        rig.advance(1)
        assert not (await nodes[second % NODES].hit("u")).allowed
    rig.advance(1)
    assert (await nodes[1].hit("u")).allowed


async def test_waiting_as_told_is_enough(rig: Rig) -> None:
    """Contract: "``retryAfter`` ... in whole seconds": after it the next one is allowed, on the node that said it."""
    nodes = rig.make(1, 2.5)
    await nodes[0].hit("u")
    rig.advance(0.8)
    refused = await nodes[1].hit("u")
    assert (refused.window, refused.retry_after) == (3, 2)
    rig.advance(refused.retry_after)
    assert (await nodes[1].hit("u")).allowed


@pytest.mark.parametrize("key", ["user:b", "user:{}", "rest:a é", "x" * 5000])
async def test_keys_do_not_hinder_each_other(rig: Rig, key: str) -> None:
    """A user's window is the user's own, whatever the id looks like."""
    nodes = rig.make(1, 60)
    assert (await nodes[0].hit("a")).allowed
    assert (await nodes[0].hit(key)).allowed
    assert not (await nodes[1].hit(key)).allowed


async def test_many_at_once(server: RedisServer) -> None:
    """A hundred events at the same moment on three nodes: exactly twenty are let in."""
    async with cluster(server) as nodes:
        places = list(limiters(nodes, 20, 60))
        verdicts = await asyncio.gather(*(places[number % NODES].hit("u") for number in range(100)))
        assert sum(verdict.allowed for verdict in verdicts) == 20
        assert sorted(verdict.remaining for verdict in verdicts if verdict.allowed) == list(range(20))


async def test_nothing_stays(server: RedisServer) -> None:
    """In Redis a key lives for its window; a node remembers whom it saw in the last one."""
    async with cluster(server) as nodes:
        [limiter] = limiters(nodes, 5, 60, count=1)
        for number in range(100):
            await limiter.hit(f"u{number}")
        assert len(limiter) == 100
        nodes.advance(61)
        assert nodes.keys() == "[]"
        for _ in range(60):
            await limiter.hit("fresh")
        assert len(limiter) == 1


hits = st.tuples(st.just("hit"), st.integers(0, NODES - 1), st.sampled_from("ab"))
pauses = st.tuples(st.just("wait"), st.integers(1, 4), st.just(""))
faults = st.tuples(st.sampled_from(["flush", "cut", "mend", "forget scripts"]), st.just(0), st.just(""))


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    points=st.integers(1, 4),
    seconds=st.integers(2, 8),
    steps=st.lists(st.one_of(hits, hits, pauses), max_size=40),
)
async def test_nodes_do_together_as_the_reference_does(
    server: RedisServer, points: int, seconds: int, steps: list[Step]
) -> None:
    """Model: the window of one process, verdict by verdict."""
    await compare(server, points, seconds, steps, NODES)


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    points=st.integers(1, 4),
    seconds=st.integers(2, 8),
    steps=st.lists(st.one_of(hits, hits, pauses, faults), max_size=40),
)
async def test_a_node_alone_does_so_whatever_befalls_redis(
    server: RedisServer, points: int, seconds: int, steps: list[Step]
) -> None:
    """Contract, section 9: "Redis down, slow, flushed, restarted: ... no fail-open", to the single event."""
    await compare(server, points, seconds, steps, 1)


async def compare(server: RedisServer, points: int, seconds: int, steps: list[Step], count: int) -> None:
    async with cluster(server) as nodes:
        clients = [nodes.client() for _ in range(count)]
        places = [
            RedisLimiter(client, f"n{number}", points, seconds, clock=nodes.clock)
            for number, client in enumerate(clients)
        ]
        reference = SlidingWindow(points, seconds, nodes.clock)
        for what, number, key in steps:
            if what == "hit":
                assert await places[number % count].hit(key) == await reference.hit(key)
            elif what == "wait":
                nodes.advance(number)
            elif what == "flush":
                nodes.flush()
            elif what == "forget scripts":
                server.say("SCRIPT", "FLUSH")
            else:
                clients[0].cut = what == "cut"


some = st.lists(st.one_of(hits, hits, pauses), max_size=20)


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(points=st.integers(3, 7), before=some, outage=some, after=some)
async def test_an_outage_lets_in_no_more(
    server: RedisServer, points: int, before: list[Step], outage: list[Step], after: list[Step]
) -> None:
    """Contract, section 9: "no fail-open": one node never beyond the limit, all together not in the outage, nor after it."""
    async with cluster(server) as nodes:
        clients = [nodes.client() for _ in range(NODES)]
        places = [
            RedisLimiter(client, f"n{number}", points, 8, nodes=lambda: NODES, clock=nodes.clock)
            for number, client in enumerate(clients)
        ]
        accepted: list[tuple[float, str, int]] = []

        async def play(steps: list[Step], since: int) -> None:
            """Hits and pauses. Of what was let in as the ``since``-th or later, no window has more than it may."""
            for what, number, key in steps:
                if what == "wait":
                    nodes.advance(number)
                elif (await places[number].hit(key)).allowed:
                    accepted.append((nodes.clock.now, key, number))
                    assert len(young(key, since)) <= points
                    assert young(key, 0).count(number) <= points

        def young(key: str, since: int) -> list[int]:
            return [who for at, of, who in accepted[since:] if of == key and at > nodes.clock.now - 8]

        await play(before, 0)
        for client in clients:
            client.cut = True
        await play(outage, len(accepted))
        for client, place in zip(clients, places, strict=True):
            client.cut = False
            await place.catch_up()
        await play(after, 0)


class TestPace:
    """Nobody waits for Redis of whose window more was left than could have been spent elsewhere since."""

    @pytest.fixture
    async def nodes(self, server: RedisServer) -> AsyncIterator[Cluster]:
        async with cluster(server) as made:
            yield made

    def paced(
        self, nodes: Cluster, name: str, points: int = 20, pace: float = 10.0
    ) -> tuple[Client, RedisLimiter]:
        client = nodes.client()
        return client, RedisLimiter(client, name, points, 60, pace=pace, clock=nodes.clock)

    async def told(self, limiter: RedisLimiter) -> None:
        """Redis has answered all that nobody waited for."""
        for own in limiter._keys.values():
            if own.ahead is not None:
                await own.ahead

    async def test_counted_all_the_same(self, nodes: Cluster) -> None:
        """What is let in before Redis has answered counts as any other, here and elsewhere."""
        _, one = self.paced(nodes, "one")
        for left in reversed(range(20)):
            assert await one.hit("u") == Verdict(True, 20, left, 60, 0)
            await self.told(one)
        assert not (await one.hit("u")).allowed
        assert not (await self.paced(nodes, "other")[1].hit("u")).allowed

    async def test_nobody_waits(self, nodes: Cluster) -> None:
        """With enough left, a hit is let in whatever Redis does meanwhile; the one behind it waits for Redis."""
        client, one = self.paced(nodes, "one")
        await one.hit("u")
        client.cut = True
        assert await one.hit("u") == Verdict(True, 20, 18, 60, 0)
        assert one._keys["u"].ahead is not None
        await self.told(one)
        client.cut = False
        assert (await one.hit("u")).remaining == 17

    @pytest.mark.parametrize(("seconds", "waits"), [(0.5, False), (1.9, True)])
    async def test_what_was_left_may_be_spent(self, nodes: Cluster, seconds: float, *, waits: bool) -> None:
        """After a while somebody may have spent it, at that pace, and Redis is asked first."""
        _, one = self.paced(nodes, "one")
        _, other = self.paced(nodes, "other")
        await one.hit("u")
        for _ in range(19):
            await other.hit("u")
            await self.told(other)
        nodes.advance(seconds)
        assert (await one.hit("u")).allowed is not waits
        await self.told(one)
        assert not (await one.hit("u")).allowed

    async def test_at_once(self, nodes: Cluster) -> None:
        """Of many at once no more are let in than there is room for."""
        _, one = self.paced(nodes, "one")
        await one.hit("u")
        verdicts = await asyncio.gather(*(one.hit("u") for _ in range(60)))
        await self.told(one)
        assert sum(verdict.allowed for verdict in verdicts) == 19
        assert not (await one.hit("u")).allowed

    async def test_one_more_while_others_are_asked(self, nodes: Cluster) -> None:
        """What Redis has not answered yet may be let in, and is not spent twice."""
        client, one = self.paced(nodes, "one", pace=0.0)
        post = Post(client, range(1, 20))
        many = [asyncio.create_task(one.hit("u")) for _ in range(20)]
        await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
        more = asyncio.create_task(one.hit("u"))
        await asyncio.sleep(0)
        post.released.set()
        allowed = [verdict.allowed for verdict in await asyncio.gather(more, *many)]
        await self.told(one)
        assert sum(allowed) == 20

    async def test_an_answer_that_was_long_on_its_way(self, nodes: Cluster) -> None:
        """What was left is as old as the question."""
        client, one = self.paced(nodes, "one")
        _, other = self.paced(nodes, "other")
        post = Post(client, range(1))
        first = asyncio.create_task(one.hit("u"))
        await post.arrived.wait()
        while (await other.hit("u")).remaining:
            await self.told(other)
        nodes.advance(1.9)
        post.released.set()
        assert (await first).allowed
        assert not (await one.hit("u")).allowed

    async def test_after_an_outage(self, nodes: Cluster) -> None:
        """What was let in just before Redis was known to be away is told to it when it is back."""
        client, one = self.paced(nodes, "one", 3, pace=0.0)
        await one.hit("u")
        client.cut = True
        assert (await one.hit("u")).allowed
        await self.told(one)
        client.cut = False
        await one.catch_up()
        _, other = self.paced(nodes, "other", 3)
        assert (await other.hit("u")).remaining == 0
