"""What this process tells of itself: the numbers it measures anyway, beside what it is called and where it runs."""

import os
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version

from tidings import metrics
from tidings.domain.clock import milliseconds
from tidings.domain.node import NodeRole, NodeState

_MEMORY = "process_resident_memory_bytes"
_LEAST_SECONDS = 1.0
"""Over less the share of processor time would say little."""


class Vitals:
    """Called, it says how the process fares now; the processor time is that since it was called before."""

    def __init__(
        self,
        node_id: str,
        worker: int,
        draining: Callable[[], bool],
        role: NodeRole = NodeRole.SERVER,
    ) -> None:
        """``node_id`` is what the security log calls the process."""
        self._node_id = node_id
        self._role = role
        self._worker = worker
        self._draining = draining
        self._host = socket.gethostname()
        self._version = version("tidings")
        self._started_at = milliseconds(datetime.now(UTC))
        self._looked_at, self._used, self._share = time.monotonic(), time.process_time(), 0.0

    def __call__(self) -> NodeState:
        streams = metrics.total(metrics.streams_active)
        return NodeState(
            id=self._node_id,
            role=self._role,
            host=self._host,
            pid=os.getpid(),
            worker=self._worker,
            version=self._version,
            started_at=self._started_at,
            draining=self._draining(),
            # Streams are connections too, to the metrics.
            connections=round(metrics.total(metrics.connections_active) - streams),
            streams=round(streams),
            jobs_running=round(metrics.total(metrics.jobs_running)),
            cpu=self._cpu(),
            memory_bytes=_memory(),
            relay_lag=metrics.total(metrics.relay_lag_seconds),
        )

    def _cpu(self) -> float:
        now, used = time.monotonic(), time.process_time()
        if now - self._looked_at >= _LEAST_SECONDS:
            self._share = (used - self._used) / (now - self._looked_at)
            self._looked_at, self._used = now, used
        return self._share


def _memory() -> int | None:
    """Resident bytes; None where there is no ``/proc``."""
    samples = (sample for family in metrics.PROCESS.collect() for sample in family.samples)
    return next((round(sample.value) for sample in samples if sample.name == _MEMORY), None)
