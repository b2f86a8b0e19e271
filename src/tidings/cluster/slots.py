"""How many at once, counted over all nodes: slots of users, asked of Redis, and of addresses, judged here.

Both stand on one ``Leases``: what a node holds is free again when the node has died and its lease has run out.
While Redis is away a node lets in its share, the limit divided by the nodes last known to live (at least one),
and no more than the limit leaves beside what the others were known to hold, for as long as their leases would
have lasted. So no node ever goes beyond the limit, and all of them together hold at most the limit of what
was taken in the outage (unless there are more nodes than slots, or some have started meanwhile, which know of
no others than those that were started with them). What is held when Redis returns stays, is told to Redis, and
counts.
"""

from tidings.broker.base import BrokerUnavailable
from tidings.cluster.leases import Leases
from tidings.cluster.share import Nodes, alone, share

_FRESH_SECONDS = 1.0


class RedisSlots:
    """``Slots`` of all nodes: while Redis is there, never more of a key than its limit, in one round trip.

    After a flush that holds again as soon as the nodes have told what they hold: a third of a lease at most.
    """

    def __init__(self, leases: Leases, nodes: Nodes = alone) -> None:
        self._leases = leases
        self._nodes = nodes

    async def acquire(self, key: str, limit: int) -> bool:
        """Take one slot of the key unless ``limit`` are taken. Each one taken needs its ``give``."""
        holding = self._leases.holding(key)
        holding.asking += 1
        granted = False
        try:
            granted = await self._leases.ask(key, limit)
        except BrokerUnavailable:
            room = min(limit - self._leases.others(key), share(limit, self._nodes))
            granted = holding.taken < room
        finally:
            holding.asking -= 1
            holding.taken += granted
            self._leases.settle(key)
        return granted

    def give(self, key: str) -> None:
        """Give one slot back, without waiting. Giving back what was not taken does nothing."""
        self._leases.give(key)


class SharedAddresses:
    """Slots of all nodes where nobody can wait: as ``LocalSlots.take``, beside what the others last held.

    Each take is told at once, and the answer says what the others hold; so beyond the limit there is no more
    than what each node takes in one round trip, and it ends when that is given back. A refusal stands on what
    is at most a second and a round trip old.
    """

    def __init__(self, leases: Leases, nodes: Nodes = alone) -> None:
        self._leases = leases
        self._nodes = nodes

    def take(self, key: str, limit: int) -> bool:
        """Take one slot of the key unless ``limit`` are known to be taken. Each one taken needs its ``give``."""
        holding = self._leases.holding(key)
        room = limit - self._leases.others(key)
        if self._leases.away:
            room = min(room, share(limit, self._nodes))
        taken = holding.taken < room
        if taken:
            holding.taken += 1
        elif holding.taken < limit:
            self._leases.refresh(key, _FRESH_SECONDS)
        self._leases.settle(key)
        return taken

    def give(self, key: str) -> None:
        """Give one slot back. Giving back what was not taken does nothing."""
        self._leases.give(key)
