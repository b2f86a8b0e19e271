"""What a process tells of itself."""

import os
import socket
from datetime import UTC, datetime

from tidings import metrics
from tidings.cluster.vitals import Vitals
from tidings.domain.clock import rfc3339


def test_who_it_is_and_how_it_fares() -> None:
    """The numbers are those it measures anyway; sockets and streams are told apart."""
    vitals = Vitals("n1", 2, lambda: True)
    before = vitals()
    metrics.connections_active.labels("websocket").inc(2)
    metrics.connections_active.labels("sse").inc()
    metrics.streams_active.labels("inbox").inc()
    metrics.jobs_running.inc()
    try:
        now = vitals()
    finally:
        metrics.connections_active.labels("websocket").dec(2)
        metrics.connections_active.labels("sse").dec()
        metrics.streams_active.labels("inbox").dec()
        metrics.jobs_running.dec()
    assert (now.id, now.worker, now.pid, now.host) == ("n1", 2, os.getpid(), socket.gethostname())
    assert now.draining
    assert now.started_at <= datetime.now(UTC)
    assert now.connections - before.connections == 2
    assert now.streams - before.streams == 1
    assert now.jobs_running - before.jobs_running == 1
    assert now.memory_bytes is None or now.memory_bytes > 1_000_000
    assert now.cpu >= 0


def test_its_shape() -> None:
    """camelCase, with times as everywhere."""
    state = Vitals("n1", 0, lambda: False)()
    assert state.to_json()["startedAt"] == rfc3339(state.started_at)
    assert "relayLagSeconds" in state.to_json()
