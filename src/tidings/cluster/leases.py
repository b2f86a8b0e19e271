"""What this node holds of slots that all nodes share, written down in Redis under leases.

Redis learns counts, never differences, each under a lease that is renewed every third of it: a node that dies
is forgotten when its leases have run out, and what Redis has forgotten itself is told again. Nobody is let in
or refused here; that is ``slots``.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from math import inf
from typing import cast
from zlib import crc32

import structlog

from tidings.broker.base import BrokerUnavailable
from tidings.cluster.commands import Commands, load

LEASE_SECONDS = 15.0

_HOLD = load("slots.lua")
_RENEWALS = 3
_RETRIES = 30
"""In the time of a lease, so often."""
_UNKNOWN = -1
_PLACES = 256
"""Keys are spread over so many hash tags. Those of one tag are told together: that costs a fifth."""
_BATCH = 100
_AT_ONCE = 16

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.cluster")


@dataclass(slots=True)
class Holding:
    """What this node holds of a key: slots that are ``taken``, and those that Redis is being asked for.

    ``told`` is what Redis last confirmed, negative when nobody knows. ``others`` is what the other nodes held at ``learned``. ``lent`` is
    when Redis was last told of any slots here, whether it heard it or not. Times are this node's.
    """

    taken: int = 0
    asking: int = 0
    told: int = 0
    others: int = 0
    learned: float = -inf
    lent: float = -inf

    @property
    def count(self) -> int:
        return self.taken + self.asking


class Leases:
    """``run`` has to run for as long as slots are held. All keys of a node may share one of these."""

    def __init__(
        self,
        commands: Commands,
        node: str,
        *,
        lease: float = LEASE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``node`` names this process and no other, ever. ``lease`` and ``clock`` are in seconds."""
        self._commands = commands
        self._node = node
        self._lease = lease
        self._clock = clock
        self._version = 0
        self._holdings: dict[str, Holding] = {}
        self._due: dict[str, None] = {}
        self._changed = asyncio.Event()
        self.away = False

    def __len__(self) -> int:
        """Of how many keys anything is held, or still to be told."""
        return len(self._holdings)

    def holding(self, key: str) -> Holding:
        """What is held of the key. Whoever changes it calls ``settle`` afterwards."""
        return self._holdings.setdefault(key, Holding())

    def settle(self, key: str) -> None:
        """Have Redis told of what has changed, soon; forget a key of which nothing is held."""
        holding = self._holdings[key]
        if holding.count != holding.told:
            self._due[key] = None
            self._changed.set()
        elif not holding.count:
            del self._holdings[key]

    def give(self, key: str) -> None:
        """Give one slot back. Redis is told until it has heard it, or the lease has run out there."""
        holding = self._holdings.get(key)
        if holding is not None and holding.taken:
            holding.taken -= 1
            self.settle(key)

    def others(self, key: str) -> int:
        """What the other nodes are known to hold. That is worth as much as their leases."""
        holding = self._holdings[key]
        return holding.others if self._clock() < holding.learned + self._lease else 0

    def refresh(self, key: str, seconds: float) -> None:
        """Ask soon what the others hold, if what is known of it is older than so many seconds."""
        if self._clock() >= self._holdings[key].learned + seconds:
            self._due[key] = None
            self._changed.set()

    async def ask(self, key: str, limit: int | None) -> bool:
        """Write down what is held and asked for, unless all nodes together would hold more than ``limit``.

        Raises:
            BrokerUnavailable: nobody knows whether it was written down.
        """
        [granted] = await self._hold([key], limit)
        return granted

    async def run(self) -> None:
        """Tell what changes and renew what is held, until cancelled."""
        while True:
            renewed = self._clock()
            self.renew()
            while (left := renewed + self._lease / _RENEWALS - self._clock()) > 0:
                self._changed.clear()
                if not await self.tell():
                    await asyncio.sleep(self._lease / _RETRIES)
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()

    def renew(self) -> None:
        """Have Redis told of everything, soon."""
        self._due.update(dict.fromkeys(self._holdings))
        self._changed.set()

    async def tell(self) -> bool:
        """Tell what is due, many at once. False: some of it could not be told and is still due."""
        due, self._due = list(self._due), {}
        parts = _together(due)
        for start in range(0, len(parts), _AT_ONCE):
            batch = parts[start : start + _AT_ONCE]
            if not all(await asyncio.gather(*map(self._tell, batch))):
                self._due.update(dict.fromkeys(chain.from_iterable(parts[start + _AT_ONCE :])))
                return False
        return True

    async def _tell(self, keys: Sequence[str]) -> bool:
        """Tell of keys that lie together. False: of some that is still due."""
        held = {key: self._holdings[key] for key in keys if key in self._holdings}
        if not held:
            return True
        try:
            await self._hold(list(held), None)
        except BrokerUnavailable:
            due = [key for key, holding in held.items() if holding.count or self._lent(holding)]
            self._due.update(dict.fromkeys(due))
            for key in held.keys() - due:
                held[key].told = 0
        else:
            due = []
        for key, holding in held.items():
            if key not in due:
                self._due.pop(key, None)
                if self._holdings.get(key) is holding:
                    self.settle(key)
        return not due

    def _lent(self, holding: Holding) -> bool:
        """Whether Redis may still count what it was told of."""
        return self._clock() < holding.lent + self._lease

    async def _hold(self, keys: Sequence[str], limit: int | None) -> list[bool]:
        """Write down what is held and asked for of keys that lie together; of which of them that was granted.

        Raises:
            BrokerUnavailable: nobody knows whether it was written down.
        """
        holdings = [self._holdings[key] for key in keys]
        counts = [holding.count for holding in holdings]
        self._version += 1
        now = self._clock()
        for holding, count in zip(holdings, counts, strict=True):
            if count:
                holding.lent = now
        words = (self._node, self._version, round(self._lease * 1000), "" if limit is None else limit)
        try:
            reply = await self._commands.run(_HOLD, [name_of(key) for key in keys], *words, *counts)
        except BaseException as fault:
            for holding in holdings:
                holding.told = _UNKNOWN
            self.away = self.away or isinstance(fault, BrokerUnavailable)
            raise
        told = cast("list[int]", reply)
        granted, known = told[::3], told[2::3]
        if self.away or any(h.told > 0 and not is_known for h, is_known in zip(holdings, known, strict=True)):
            self._begin_anew()
        learned = self._clock()
        for number, holding in enumerate(holdings):
            holding.others, holding.learned = told[3 * number + 1], learned
            if granted[number]:
                holding.told = counts[number]
            elif not known[number]:
                holding.told = 0
        return [bool(each) for each in granted]

    def _begin_anew(self) -> None:
        """Redis is back, or has forgotten: tell it everything."""
        _log.warning("cluster_slots_told_anew", keys=len(self._holdings))
        self.away = False
        for holding in self._holdings.values():
            holding.told = _UNKNOWN
        self.renew()


def name_of(key: str) -> str:
    """What Redis calls the slots of a key."""
    return f"tidings:1:slots:{{{_place(key):02x}}}:{key}"


def _place(key: str) -> int:
    return crc32(key.encode()) % _PLACES


def _together(keys: Iterable[str]) -> list[list[str]]:
    """The keys in parts that one script can be given: of one place each, and not too many."""
    places: dict[int, list[str]] = {}
    for key in keys:
        places.setdefault(_place(key), []).append(key)
    return [
        place[start : start + _BATCH] for place in places.values() for start in range(0, len(place), _BATCH)
    ]
