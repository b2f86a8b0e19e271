"""The metrics as administrators read them."""

from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from tidings.api.admin_metrics import summary


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_nothing_was_measured() -> None:
    """Counts are 0, and rates of nothing are null."""
    told = summary([])
    assert told["authentication"] == {"succeeded": 0, "failed": 0, "successRate": None}
    assert told["connections"]["sse"]["averageSeconds"] is None
    assert told["deliveries"]["latencyMs"]["p95"] is None


def test_connections_by_transport(registry: CollectorRegistry) -> None:
    """Contract, section 8: "connections (total, active, peak, attempts, failed, average duration, failure rate)
    by transport".
    """
    attempts = Counter("tidings_connection_attempts", "", ["transport"], registry=registry)
    failed = Counter("tidings_connections_failed", "", ["transport", "reason"], registry=registry)
    active = Gauge("tidings_connections_active", "", ["transport"], registry=registry)
    peak = Gauge("tidings_connections_peak", "", ["transport"], registry=registry)
    seconds = Histogram("tidings_connection_seconds", "", ["transport"], registry=registry)
    attempts.labels("websocket").inc(8)
    attempts.labels("sse").inc(2)
    failed.labels("websocket", "UNAUTHENTICATED").inc()
    failed.labels("websocket", "RATE_LIMITED").inc()
    active.labels("websocket").set(4)
    peak.labels("websocket").set(5)
    seconds.labels("websocket").observe(10)
    seconds.labels("websocket").observe(20)
    told = summary(registry.collect())["connections"]
    assert told["websocket"] == {
        "total": 6,
        "active": 4,
        "attempts": 8,
        "failed": 2,
        "failureRate": 0.25,
        "averageSeconds": 15,
        "peak": 5,
    }
    assert (told["all"]["attempts"], told["all"]["failureRate"]) == (10, 0.2)
    assert told["sse"]["failureRate"] == 0


def test_rates_and_sums(registry: CollectorRegistry) -> None:
    """Of credentials the part that was good; of violations how many by limit; of jobs by kind and status."""
    checked = Counter("tidings_authentications", "", ["outcome"], registry=registry)
    checked.labels("success").inc(99)
    checked.labels("failure").inc()
    limited = Counter("tidings_rate_limited", "", ["limit"], registry=registry)
    limited.labels("rest").inc(3)
    finished = Counter("tidings_jobs_finished", "", ["kind", "status"], registry=registry)
    finished.labels("a", "failed").inc(2)
    finished.labels("a", "succeeded").inc(5)
    told = summary(registry.collect())
    assert told["authentication"]["successRate"] == 0.99
    assert told["rateLimitViolations"] == {"rest": 3}
    assert told["jobs"]["finished"] == {"a": {"failed": 2, "succeeded": 5}}


@pytest.mark.parametrize(
    ("observed", "p50", "p99"),
    [
        ([0.0005] * 100, 0.5, 0.99),  # all in the bucket up to 1 ms
        ([0.0005] * 50 + [0.005] * 50, 1.0, 9.82),  # half of them in that up to 10 ms
        ([99.0], 10.0, 10.0),  # beyond the last bound nothing is known
    ],
)
def test_quantiles(registry: CollectorRegistry, observed: list[float], p50: float, p99: float) -> None:
    """Estimated within their bucket, in milliseconds."""
    latency = Histogram("tidings_delivery_seconds", "", buckets=(0.001, 0.01), registry=registry)
    for seconds in observed:
        latency.observe(seconds)
    told: dict[str, Any] = summary(registry.collect())["deliveries"]["latencyMs"]
    assert told["count"] == len(observed)
    assert told["average"] == pytest.approx(sum(observed) / len(observed) * 1000)
    assert (told["p50"], told["p99"]) == (pytest.approx(p50), pytest.approx(p99))
