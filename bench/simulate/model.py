"""Tidings as a network of lines: nodes, the database, Redis. Messages go through it as they do in reality.

Connections are not simulated one by one: a message's audience is drawn, by node. Arrivals are random (Poisson),
users are spread evenly over nodes. Not in the model: the network, slow clients, faults, joined writes.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from bench.simulate.clock import Clock, Line
from bench.simulate.costs import Costs

LEASE_SECONDS = 5.0
"""How often a node tells Redis what it holds of the limits."""
CROWD = 20
"""With so many recipients a node, each node has its even share."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """``notifications`` go to one user each, who has ``devices`` connections; ``broadcasts`` to a whole tenant.
    Both a second, over all tenants. ``direct`` messages are published without a request and a database, as the
    progress of jobs is. ``shards`` are Redis servers, ``database_cores`` PostgreSQL's. ``apart``: everything comes
    in at one node more, which has no connections.
    """

    connections: int
    nodes: int
    tenants: int = 1
    devices: int = 1
    notifications: float = 0.0
    broadcasts: float = 0.0
    direct: bool = False
    apart: bool = False
    shards: int = 1
    database_cores: int = 4
    keys: float = 0.0
    """Users and addresses a connection has of its own: 2 if every one is somebody else's, from somewhere else."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Latencies in seconds, from publication and from the request, to the middle one of a node's recipients.

    Loads are shares of what each has: the busiest node, PostgreSQL, the busiest Redis. At 1 and above the line
    grows for ever, and latencies say how long the simulation ran.
    """

    messages: int
    deliveries: int
    published_p50: float
    published_p99: float
    accepted_p50: float
    accepted_p99: float
    node_load: float
    database_load: float
    redis_load: float


@dataclass(frozen=True, slots=True)
class _Message:
    asked: float
    published: float
    audience: int


class Model:
    """``seconds`` is for how long messages come. The same seed gives the same outcome."""

    def __init__(self, scenario: Scenario, costs: Costs, *, seconds: float, seed: int = 1) -> None:
        self._scenario = scenario
        self._costs = costs
        self._seconds = seconds
        self._random = random.Random(seed)
        self._clock = clock = Clock()
        self._nodes = [Line(clock) for _ in range(scenario.nodes)]
        self._doors = [Line(clock)] if scenario.apart else self._nodes
        self._relays = [_Relay(self, node) for node in self._doors]
        self._database = Line(clock, scenario.database_cores)
        self._redis = [Line(clock) for _ in range(scenario.shards)]
        self._from_publication: list[float] = []
        self._from_request: list[float] = []
        self._messages = self._deliveries = 0

    def run(self) -> Outcome:
        """Until the last message has arrived."""
        scenario = self._scenario
        self._let_come(scenario.notifications, scenario.devices)
        self._let_come(scenario.broadcasts, scenario.connections // scenario.tenants)
        self._clock.run()
        return self._outcome()

    def _let_come(self, rate: float, audience: int) -> None:
        """Messages to so many connections each, at random times."""
        at = self._random.expovariate(rate) if rate else self._seconds
        while at < self._seconds:
            self._clock.after(at, partial(self._come, audience))
            at += self._random.expovariate(rate)

    def _come(self, audience: int) -> None:
        number = self._random.randrange(len(self._doors))
        asked = self._clock.now
        self._messages += 1

        def relay() -> None:
            self._relays[number].add(_Message(asked, self._clock.now, audience))

        if self._scenario.direct:
            relay()
        else:
            commit = partial(self._database.add, self._costs.commit, relay)
            self._doors[number].add(self._costs.accept, commit)

    def trip(self, node: Line, batch: Sequence[_Message], back: "partial[None]") -> None:
        """A batch from a node's relay to Redis and on to those who hear it; ``back`` when Redis has answered."""
        costs = self._costs
        hearers = [self._hearers(message.audience) for message in batch]
        pushes = sum(map(len, hearers))
        shard = self._random.choice(self._redis)

        def published() -> None:
            self._clock.after(costs.wire, back)
            self._clock.after(costs.wire, partial(self._tell, batch, hearers))

        def arrived() -> None:
            shard.add(
                costs.redis_turn + costs.redis * len(batch) + costs.redis_push * pushes,
                published,
            )

        sent = partial(self._clock.after, costs.wire, arrived)
        node.add(costs.publish_turn + costs.publish * len(batch), sent)

    def _hearers(self, audience: int) -> Counter[int]:
        """Which nodes have how many of the audience."""
        count = len(self._nodes)
        if audience >= CROWD * count:
            return Counter(dict.fromkeys(range(count), round(audience / count)))
        return Counter(self._random.choices(range(count), k=audience))

    def _tell(self, batch: Sequence[_Message], hearers: Sequence[Counter[int]]) -> None:
        """Each node reads what there is of a batch for it at once, and writes message after message."""
        costs, woken = self._costs, set[int]()
        for message, audience in zip(batch, hearers, strict=True):
            for number, count in audience.items():
                turn = 0.0 if number in woken else costs.hear_turn
                woken.add(number)
                self._deliveries += count
                done = partial(self._delivered, message, costs.deliver * count / 2)
                self._nodes[number].add(turn + costs.hear + costs.deliver * count, done)

    def _delivered(self, message: _Message, rest: float) -> None:
        """The last recipient has it; the middle one had it a while ago."""
        self._from_publication.append(self._clock.now - rest - message.published)
        self._from_request.append(self._clock.now - rest - message.asked)

    def _outcome(self) -> Outcome:
        def load(lines: Sequence[Line], cores: int = 1) -> float:
            return max(line.worked for line in lines) / self._seconds / cores

        return Outcome(
            messages=self._messages,
            deliveries=self._deliveries,
            published_p50=_quantile(self._from_publication, 0.5),
            published_p99=_quantile(self._from_publication, 0.99),
            accepted_p50=_quantile(self._from_request, 0.5),
            accepted_p99=_quantile(self._from_request, 0.99),
            node_load=load(self._nodes) + self._leases(self._costs.lease, len(self._nodes)),
            database_load=load([self._database], self._scenario.database_cores),
            redis_load=load(self._redis) + self._leases(self._costs.redis_lease, len(self._redis)),
        )

    def _leases(self, cost: float, servers: int) -> float:
        """The share of a core that keeping leases takes, of each of so many; it delays nothing here."""
        keys = self._scenario.connections * self._scenario.keys
        return keys * cost / LEASE_SECONDS / servers


class _Relay:
    """A node's relay: one trip at a time, each with all that waits."""

    def __init__(self, model: Model, node: Line) -> None:
        self._model = model
        self._node = node
        self._waiting: list[_Message] = []
        self._away = False

    def add(self, message: _Message) -> None:
        self._waiting.append(message)
        self._go()

    def _go(self) -> None:
        if self._waiting and not self._away:
            batch, self._waiting = self._waiting, []
            self._away = True
            self._model.trip(self._node, batch, partial(self._back))

    def _back(self) -> None:
        self._away = False
        self._go()


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0
