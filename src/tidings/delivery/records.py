"""What a session leaves behind, apart from the process that held it, so that its client may come back.

A record is small and written when a session begins and when its subscriptions change, never at its end: a node
that was killed writes nothing. It holds no event; what can be replayed is decided by the broker's histories.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import orjson

from tidings.delivery.resume import Place
from tidings.domain.people import Principal, Role, TenantId, UserId


@dataclass(frozen=True, slots=True)
class Record:
    """Whose a session is and what it hears beside the inbox.

    ``began`` is where its first connection began, ``start`` where its latest did. ``floor`` is a place before
    which nothing can be resumed, because a client may have received more than it says there. ``jobs`` are ids
    with the place at which each was subscribed to; ``snapshots`` is how many were sent.
    """

    user_id: UserId
    tenant_id: TenantId
    role: Role
    began: Place
    start: Place
    floor: Place | None = None
    snapshots: int = 0
    jobs: Mapping[str, Place] = field(default_factory=dict)

    def is_of(self, principal: Principal) -> bool:
        """Whether the principal is who it was, with the same rights."""
        now = (principal.user_id, principal.tenant_id, principal.role)
        return (self.user_id, self.tenant_id, self.role) == now

    def encode(self) -> str:
        """A small form for keeping."""
        jobs = {job_id: str(place) for job_id, place in self.jobs.items()}
        start = None if self.start == self.began else str(self.start)
        floor = None if self.floor is None else str(self.floor)
        whose = (self.user_id, self.tenant_id, self.role)
        # As a string, because orjson's bytes keep the whole buffer that they were written to.
        return orjson.dumps((*whose, str(self.began), start, floor, self.snapshots, jobs)).decode()

    @classmethod
    def decode(cls, data: str) -> "Record":
        """Read what ``encode`` wrote."""
        user_id, tenant_id, role, began, start, floor, snapshots, jobs = orjson.loads(data)
        return cls(
            user_id,
            tenant_id,
            Role(role),
            Place.parse(began),
            Place.parse(start or began),
            None if floor is None else Place.parse(floor),
            snapshots,
            {job_id: Place.parse(place) for job_id, place in jobs.items()},
        )


class Records(Protocol):
    """Where records are kept, each under its session's ``pid``.

    A record is found for as long as its session lives and a day longer, on every node that shares the place,
    unless there are more sessions that went than the place is made for: then those that went first go first.
    """

    async def keep(self, pid: str, record: Record) -> None:
        """Keep the record, in the place of an earlier one.

        Raises:
            TidingsError: UNAVAILABLE.
        """

    async def find(self, pid: str) -> Record | None:
        """The record, if it is known. ``pid`` is whatever a client sent. Raises as ``keep`` does."""

    def leave(self, pid: str) -> None:
        """The session has ended, as far as this node can tell. Its record begins to age; a hint, not a promise."""


class _Gone(NamedTuple):
    """The record of a session that ended at ``at``."""

    at: float
    data: str


class LocalRecords:
    """``Records`` of one process. ``clock`` gives seconds; at most ``capacity`` sessions that went are remembered.

    Sessions that live are as many as there are connections, and are not counted.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        seconds: float = 86_400.0,
        capacity: int = 100_000,
    ) -> None:
        self._clock = clock
        self._seconds = seconds
        self._capacity = capacity
        self._live: dict[str, str] = {}
        self._gone: OrderedDict[str, _Gone] = OrderedDict()  # in the order in which they went

    def __len__(self) -> int:
        return len(self._live) + len(self._gone)

    async def keep(self, pid: str, record: Record) -> None:
        self._gone.pop(pid, None)
        self._live[pid] = record.encode()

    async def find(self, pid: str) -> Record | None:
        data = self._live.get(pid)
        if data is None:
            gone = self._gone.get(pid)
            if gone is None or gone.at < self._clock() - self._seconds:
                return None
            data = gone.data
        return Record.decode(data)

    def leave(self, pid: str) -> None:
        now = self._clock()
        data = self._live.pop(pid, None)
        if data is not None:
            self._gone[pid] = _Gone(now, data)
        while self._gone and (len(self._gone) > self._capacity or self._oldest < now - self._seconds):
            self._gone.popitem(last=False)

    @property
    def _oldest(self) -> float:
        return next(iter(self._gone.values())).at
