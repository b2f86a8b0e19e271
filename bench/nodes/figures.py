"""What is measured of two nodes on one Redis, and how it is shown."""

from dataclasses import dataclass

from bench.harness.report import Row

BURST = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """What one trial gives: everything is published at one node and received at the other.

    ``cpu_us_per_delivery`` is the receiving node's, in the run message by message; ``publisher_cpu_us`` the
    publishing node's for each message of that run; ``redis_connections`` how many a node holds.
    """

    deliveries_per_second: float
    burst_deliveries_per_second: float
    cpu_us_per_delivery: float
    publisher_cpu_us: float
    latency_p50_ms: float
    latency_p99_ms: float
    redis_connections: float


@dataclass(frozen=True, slots=True)
class CrowdFigures:
    """What one trial gives of a node with many clients; None: not measured.

    ``told`` of ``clients`` heard exactly once of what was posted for them at the other node, and of nothing else.
    ``crowd_redis_connections`` are those of the node that has them all, as Redis counts them.
    """

    clients: float | None = None
    told: float | None = None
    crowd_redis_connections: float | None = None


@dataclass(frozen=True, slots=True)
class ForeignFigures:
    """What one trial gives of a tenant's traffic; None: not measured.

    ``home`` is the node where the tenant's users are connected and post, ``foreign`` the other one, with users of
    another tenant. Messages are those of the tenant's channels that Redis sent to the node. ``rest_cpu_ms`` is what
    the other node uses in as long a time in which nobody posts.
    """

    posted: float | None = None
    home_messages: float | None = None
    home_cpu_ms: float | None = None
    foreign_messages: float | None = None
    foreign_cpu_ms: float | None = None
    rest_cpu_ms: float | None = None


ROWS = (
    Row("deliveries_per_second", "deliveries/s, message by message", ",.0f", higher_is_better=True),
    Row("burst_deliveries_per_second", f"deliveries/s, bursts of {BURST}", ",.0f", higher_is_better=True),
    Row("cpu_us_per_delivery", "  receiving node's CPU each, us", ",.2f", higher_is_better=False),
    Row("publisher_cpu_us", "publishing node's CPU a message, us", ",.1f", higher_is_better=False),
    Row("latency_p50_ms", "latency p50, ms", ",.2f", higher_is_better=False),
    Row("latency_p99_ms", "latency p99, ms", ",.2f", higher_is_better=False),
    Row("redis_connections", "connections to Redis a node", ",.0f", higher_is_better=False),
    Row("clients", "clients of one node, half of them SSE", ",.0f", higher_is_better=None),
    Row("told", "  told exactly once what is theirs", ",.0f", higher_is_better=None),
    Row("crowd_redis_connections", "  connections to Redis of that node", ",.0f", higher_is_better=None),
    Row("posted", "notifications of a tenant, all at one node", ",.0f", higher_is_better=None),
    Row("home_messages", "  messages of the tenant's that Redis sent it", ",.0f", higher_is_better=None),
    Row("home_cpu_ms", "  its CPU, ms", ",.0f", higher_is_better=None),
    Row("foreign_messages", "  messages that Redis sent the other node", ",.0f", higher_is_better=None),
    Row("foreign_cpu_ms", "  the other node's CPU, ms", ",.0f", higher_is_better=None),
    Row("rest_cpu_ms", "  the same at rest for as long, ms", ",.0f", higher_is_better=None),
)
