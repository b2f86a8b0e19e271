"""The records of sessions in Redis, found by every node (``delivery/records.py``).

Redis sees neither whose session it is by name of the key nor the secret that it is known by, and forgets a
record by itself. A record that is there is always the latest: what could not be written is refused.
"""

from hashlib import sha256
from typing import cast

import structlog

from tidings import metrics
from tidings.broker.base import BrokerUnavailable
from tidings.broker.redis.script import Script
from tidings.cluster.commands import Commands
from tidings.delivery.records import Record
from tidings.domain.errors import ErrorCode, TidingsError

_KEEP = Script("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])")
_FIND = Script("return redis.call('GET', KEYS[1])")
_DAY = 86_400.0
_RETRY_SECONDS = 1

_log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger("tidings.cluster")


class RedisRecords:
    """``Records`` of all nodes. ``lifetime`` is how long a connection may live, in seconds.

    A record lives for that long and a day longer from when it was last kept, so none has to be renewed, and
    nothing has to be done when its session ends. While Redis is away:

    - a session that has only begun goes unrecorded, and cannot be recovered; ``unrecorded`` counts these;
    - what is more than a beginning is refused, UNAVAILABLE: an old record in its place would later recover a
      part, and that is never done;
    - a ``pid`` is unknown, except that of a session that lives here: then that is refused too.
    """

    def __init__(self, commands: Commands, *, lifetime: float = _DAY) -> None:
        self._commands = commands
        self._milliseconds = round((lifetime + _DAY) * 1000)
        self._here: set[str] = set()
        self._away = False
        self.unrecorded = 0

    def __len__(self) -> int:
        """How many sessions live here."""
        return len(self._here)

    async def keep(self, pid: str, record: Record) -> None:
        """Keep the record, in the place of an earlier one.

        Raises:
            TidingsError: UNAVAILABLE, and there may be an earlier one.
        """
        try:
            await self._commands.run(_KEEP, _key(pid), record.encode(), self._milliseconds)
        except BrokerUnavailable as fault:
            self._note(fault)
            if pid in self._here or not _only_begun(record):
                raise _unavailable(fault) from fault
            self.unrecorded += 1
            metrics.sessions_unrecorded.inc()
        else:
            self._away = False
        self._here.add(pid)

    async def find(self, pid: str) -> Record | None:
        """The record, if it is known. ``pid`` is whatever a client sent.

        Raises:
            TidingsError: UNAVAILABLE, and the session lives here.
        """
        try:
            data = cast("bytes | None", await self._commands.run(_FIND, _key(pid)))
        except BrokerUnavailable as fault:
            self._note(fault)
            if pid in self._here:
                raise _unavailable(fault) from fault
            return None
        self._away = False
        return None if data is None else Record.decode(data.decode())

    def leave(self, pid: str) -> None:
        """The session has ended, as far as this node can tell."""
        self._here.discard(pid)

    def _note(self, fault: BrokerUnavailable) -> None:
        """Say it once for each time that Redis is away."""
        if not self._away:
            self._away = True
            _log.warning("cluster_records_away", reason=str(fault))


def _key(pid: str) -> str:
    return f"tidings:1:record:{sha256(pid.encode('utf-8', 'surrogatepass')).hexdigest()}"


def _only_begun(record: Record) -> bool:
    """Whether an earlier one in its place would say nothing wrong."""
    return record.start == record.began and record.floor is None and not record.snapshots and not record.jobs


def _unavailable(fault: BrokerUnavailable) -> TidingsError:
    return TidingsError(ErrorCode.UNAVAILABLE, retry_after=_RETRY_SECONDS, detail=repr(fault))
