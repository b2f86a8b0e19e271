"""The metrics as an administrator reads them: what ``/metrics`` tells a machine, in a few numbers (contract,
section 8).

Everything is since the process began. A rate of nothing is null.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from prometheus_client import Metric

TRANSPORTS = ("websocket", "polling", "sse")

_SECONDS, _MILLISECONDS = 1.0, 1000.0
_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def summary(families: Iterable[Metric]) -> dict[str, Any]:
    """The numbers of ``GET /admin/metrics`` out of everything that is measured."""
    numbers = _Numbers(families)
    succeeded = numbers.total("tidings_authentications_total", outcome="success")
    failed = numbers.total("tidings_authentications_total", outcome="failure")
    return {
        "connections": {
            "all": _connections(numbers),
            **{transport: _transport(numbers, transport) for transport in TRANSPORTS},
        },
        "authentication": {
            "succeeded": _whole(succeeded),
            "failed": _whole(failed),
            "successRate": _rate(succeeded, succeeded + failed),
        },
        "deliveries": {
            "total": _whole(numbers.total("tidings_deliveries_total")),
            "latencyMs": numbers.distribution("tidings_delivery_seconds", _MILLISECONDS),
        },
        "rateLimitViolations": numbers.by("tidings_rate_limited_total", "limit"),
        "outbox": {
            "bytes": _whole(numbers.total("tidings_outbox_bytes")),
            "conflated": _whole(numbers.total("tidings_outbox_conflated_total")),
            "slowConsumersClosed": _whole(
                numbers.total("tidings_connections_closed_total", reason="SLOW_CONSUMER")
            ),
        },
        "recoveries": numbers.by("tidings_resumes_total", "outcome"),
        "broker": {
            "healthy": numbers.total("tidings_broker_healthy") > 0,
            "redisConnections": _whole(numbers.total("tidings_redis_connections")),
            "pending": _whole(numbers.total("tidings_relay_pending")),
            "lagSeconds": numbers.total("tidings_relay_lag_seconds"),
        },
        "jobs": {
            "running": _whole(numbers.total("tidings_jobs_running")),
            "finished": numbers.by_two("tidings_jobs_finished_total", "kind", "status"),
            "retried": numbers.by("tidings_jobs_retried_total", "kind"),
            "waitSeconds": numbers.distribution("tidings_job_wait_seconds", _SECONDS),
            "runSeconds": numbers.distribution("tidings_job_run_seconds", _SECONDS),
        },
        "securityEvents": numbers.by("tidings_security_events_total", "event"),
    }


def _transport(numbers: "_Numbers", transport: str) -> dict[str, Any]:
    peak = numbers.total("tidings_connections_peak", transport=transport)
    return {**_connections(numbers, transport=transport), "peak": _whole(peak)}


def _connections(numbers: "_Numbers", **of: str) -> dict[str, Any]:
    """Of one transport, or of all: these have no common peak."""
    active = numbers.total("tidings_connections_active", **of)
    attempts = numbers.total("tidings_connection_attempts_total", **of)
    failed = numbers.total("tidings_connections_failed_total", **of)
    ended = numbers.total("tidings_connection_seconds_count", **of)
    lived = numbers.total("tidings_connection_seconds_sum", **of)
    return {
        "total": _whole(active + ended),
        "active": _whole(active),
        "attempts": _whole(attempts),
        "failed": _whole(failed),
        "failureRate": _rate(failed, attempts),
        "averageSeconds": lived / ended if ended else None,
    }


class _Numbers:
    """Samples by name."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._samples: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for family in families:
            for sample in family.samples:
                self._samples[sample.name].append((sample.labels, sample.value))

    def total(self, name: str, **of: str) -> float:
        """The sum over all samples that have these labels."""
        found = self._samples.get(name, [])
        return sum(value for labels, value in found if of.items() <= labels.items())

    def by(self, name: str, label: str) -> dict[str, int]:
        """The sum for each value of a label."""
        sums: dict[str, float] = defaultdict(float)
        for labels, value in self._samples.get(name, []):
            sums[labels[label]] += value
        return {key: _whole(sums[key]) for key in sorted(sums)}

    def by_two(self, name: str, outer: str, inner: str) -> dict[str, dict[str, int]]:
        """The value for each pair of labels, one below the other."""
        found: dict[str, dict[str, int]] = defaultdict(dict)
        for labels, value in self._samples.get(name, []):
            found[labels[outer]][labels[inner]] = _whole(value)
        return dict(found)

    def distribution(self, name: str, unit: float) -> dict[str, float | int | None]:
        """A histogram's count, average and quantiles, in seconds times ``unit``."""
        count = self.total(f"{name}_count")
        buckets: dict[float, float] = defaultdict(float)
        for labels, value in self._samples.get(f"{name}_bucket", []):
            buckets[float(labels["le"])] += value
        return {
            "count": _whole(count),
            "average": self.total(f"{name}_sum") / count * unit if count else None,
            **{key: _quantile(sorted(buckets.items()), q, unit) for key, q in _QUANTILES.items()},
        }


def _quantile(buckets: list[tuple[float, float]], q: float, unit: float) -> float | None:
    """As Prometheus estimates it: along a line within the bucket, and no more than the last finite bound."""
    if not buckets or not buckets[-1][1]:
        return None
    wanted = q * buckets[-1][1]
    for (low, below), (high, count) in pairwise([(0.0, 0.0), *buckets]):
        if count >= wanted:
            if high == float("inf"):
                return low * unit
            return (low + (high - low) * (wanted - below) / (count - below)) * unit
    return None


def _rate(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _whole(value: float) -> int:
    return round(value)
