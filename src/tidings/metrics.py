"""Every counter, gauge and histogram, named once. Whoever measures imports the name from here.

Several processes on one port are scraped as one: their values are summed, unless the name says otherwise here.
"""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

REGISTRY = CollectorRegistry(auto_describe=True)
PROCESS = ProcessCollector(registry=REGISTRY)
"""Memory, processor time and descriptors of this process."""

Over = Callable[[Iterable[float]], float]
"""Makes one value of those of several processes."""

_OVER: dict[str, Over] = {"process_start_time_seconds": min}

_LATENCY = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


def over_workers(sample: str) -> Over:
    """How the values of a sample become one; of the moments at which something began, the first counts."""
    return _OVER.get(sample, min if sample.endswith("_created") else sum)


def total(metric: Counter | Gauge) -> float:
    """What a counter or gauge stands at, over all its labels."""
    samples = (sample for family in metric.collect() for sample in family.samples)
    return sum(sample.value for sample in samples if not sample.name.endswith("_created"))


def _counter(name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=REGISTRY)


def _gauge(name: str, text: str, *labels: str, over: Over = sum) -> Gauge:
    _OVER[name] = over
    return Gauge(name, text, labels, registry=REGISTRY)


def _histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = _LATENCY) -> Histogram:
    return Histogram(name, text, labels, buckets=buckets, registry=REGISTRY)


connections_active = _gauge("tidings_connections_active", "Open connections", "transport")
connections_peak = _gauge("tidings_connections_peak", "Most open connections at once", "transport")
connection_attempts = _counter("tidings_connection_attempts", "Connections begun", "transport")
connections_failed = _counter(
    "tidings_connections_failed", "Connections refused before they were authenticated", "transport", "reason"
)
connections_closed = _counter("tidings_connections_closed", "Connections ended", "transport", "reason")
connection_seconds = _histogram(
    "tidings_connection_seconds",
    "How long connections lived",
    "transport",
    buckets=(1, 10, 60, 300, 1800, 3600, 21600, 86400),
)
handovers = _counter("tidings_handovers", "Connections between the workers of this machine", "outcome")
authentications = _counter("tidings_authentications", "Credentials checked", "outcome")
key_fetches = _counter("tidings_key_fetches", "Fetches of the key set (TIDINGS_JWKS_URL)", "outcome")
security_events = _counter("tidings_security_events", "Lines of the security log", "event")
rate_limited = _counter("tidings_rate_limited", "Events and requests over a limit", "limit")
refusals = _counter("tidings_refusals", "Errors that clients were answered with", "surface", "code")

events_published = _counter("tidings_events_published", "Events given to the broker", "name")
deliveries = _counter("tidings_deliveries", "Events handed to sessions")
delivery_seconds = _histogram("tidings_delivery_seconds", "From publication to the sessions' sockets")
outbox_bytes = _gauge("tidings_outbox_bytes", "Bytes that slow links have not taken yet")
outbox_conflated = _counter("tidings_outbox_conflated", "Progress events replaced by newer ones")
resumes = _counter("tidings_resumes", "Attempts to resume from a position", "outcome")
sessions_unrecorded = _counter(
    "tidings_sessions_unrecorded", "Sessions that cannot be recovered, because Redis was away when they began"
)
progress_dropped = _counter(
    "tidings_progress_dropped", "Progress events that were given up unpublished", "reason"
)
security_events_unstored = _counter(
    "tidings_security_events_unstored",
    "Security events that were printed, but could not be kept for the store",
)
relay_rows = _counter("tidings_relay_rows", "Rows of the outbox given to the broker")
relay_pending = _gauge("tidings_relay_pending", "Rows of the outbox that wait for the broker", over=max)
relay_lag_seconds = _gauge(
    "tidings_relay_lag_seconds", "Age of the oldest row that waits for the broker", over=max
)
degraded = _gauge("tidings_degraded", "1 while clients are told that events are late", over=max)
redis_connections = _gauge("tidings_redis_connections", "Open connections to Redis")
broker_connects = _counter(
    "tidings_broker_connects", "Connections made to a Redis server, the first included"
)
broker_repaired = _counter(
    "tidings_broker_events_repaired", "Events read from the history because they did not arrive by themselves"
)
broker_lost = _counter("tidings_broker_channels_lost", "Channels of which something was missed for good")
broker_disorders = _counter(
    "tidings_broker_disorders", "Epochs that were ended because an event came too late to be told in order"
)
broker_whispers_lost = _counter(
    "tidings_broker_whispers_lost", "Signals between processes that no server took; they look by themselves"
)
broker_healthy = _gauge("tidings_broker_healthy", "1 while the broker is believed to work", over=min)

requests = _counter("tidings_http_requests", "HTTP requests answered", "method", "route", "status")
request_seconds = _histogram(
    "tidings_http_request_seconds",
    "Time to answer an HTTP request, but for those of /socket.io/, which wait for events",
    "route",
)
streams_active = _gauge("tidings_streams_active", "Open SSE streams", "kind")

jobs_finished = _counter("tidings_jobs_finished", "Jobs that reached their end", "kind", "status")
jobs_retried = _counter("tidings_jobs_retried", "Attempts that will be tried again", "kind", "reason")
jobs_running = _gauge("tidings_jobs_running", "Jobs this process runs now")
job_wait_seconds = _histogram("tidings_job_wait_seconds", "From a job's due time to its start", "kind")
job_run_seconds = _histogram(
    "tidings_job_run_seconds",
    "One attempt's run time",
    "kind",
    buckets=(*_LATENCY, 30.0, 60.0, 300.0, 1800.0),
)

loop_failures = _counter(
    "tidings_loop_failures", "Faults that ended a loop of the node, which began anew", "loop"
)
