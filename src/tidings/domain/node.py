"""What a node tells of itself, so that an administrator sees which ones there are and how they fare."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from tidings.domain.clock import rfc3339


class NodeRole(StrEnum):
    """Whether a process serves clients, or runs jobs and nothing else."""

    SERVER = "server"
    WORKER = "worker"


@dataclass(frozen=True, slots=True)
class NodeState:
    """One process as it is now. ``id`` is the ``nodeId`` of its security log.

    ``worker`` counts the processes of one ``tidings serve`` from 0. ``cpu`` is the share of one core it used
    lately. ``memory_bytes`` is None where the system does not tell. ``relay_lag`` is the age, in seconds, of the
    oldest event that waits for the broker.
    """

    id: str
    role: NodeRole
    host: str
    pid: int
    worker: int
    version: str
    started_at: datetime
    draining: bool
    connections: int
    streams: int
    jobs_running: int
    cpu: float
    memory_bytes: int | None
    relay_lag: float

    def to_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "role": self.role.value,
            "host": self.host,
            "pid": self.pid,
            "worker": self.worker,
            "version": self.version,
            "startedAt": rfc3339(self.started_at),
            "draining": self.draining,
            "connections": self.connections,
            "streams": self.streams,
            "jobsRunning": self.jobs_running,
            "cpu": round(self.cpu, 3),
            "memoryBytes": self.memory_bytes,
            "relayLagSeconds": round(self.relay_lag, 3),
        }
