"""What the REST surface is built on. ``tidings.app`` fills it in; nothing here is made by the surface itself."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from prometheus_client import CollectorRegistry

from tidings.delivery.administer import Administration
from tidings.delivery.admit import Admission
from tidings.delivery.audit import SecurityLog
from tidings.delivery.forms import ReportJob
from tidings.delivery.inbox import Inbox
from tidings.delivery.once import Act, Asked, Statements
from tidings.delivery.relay import Relay
from tidings.domain.job import Job, JobPriority, JobStatus
from tidings.domain.node import NodeState
from tidings.domain.people import Principal
from tidings.identity.limiter import Limiter
from tidings.identity.origins import Origins
from tidings.identity.peer import Peers

T_co = TypeVar("T_co", covariant=True)


class Page(Protocol[T_co]):
    """Some of a list; ``next_cursor`` is None at its end."""

    @property
    def items(self) -> tuple[T_co, ...]: ...

    @property
    def next_cursor(self) -> str | None: ...


class Jobs(Protocol):
    """What users ask of jobs. A job that is missing, malformed or someone else's raises NOT_FOUND."""

    async def submit(
        self,
        tx: Statements,
        principal: Principal,
        *,
        kind: str,
        payload: dict[str, Any],
        priority: JobPriority,
        delay_seconds: float,
    ) -> Job:
        """Accept a job. Raises UNKNOWN_KIND, VALIDATION_FAILED."""

    def committed(self, job_id: str) -> None:
        """The transaction of the job's ``submit`` has been committed."""

    async def get(self, principal: Principal, job_id: str) -> Job: ...

    async def page(
        self,
        principal: Principal,
        *,
        cursor: str | None,
        limit: int,
        status: JobStatus | None,
        kind: str | None,
        parent: str | None,
    ) -> Page[Job]:
        """The principal's own jobs, the newest first. Raises VALIDATION_FAILED for a broken cursor."""

    async def cancel(self, principal: Principal, job_id: str) -> Job:
        """Raises CONFLICT when it is over."""

    async def retry(self, principal: Principal, job_id: str) -> Job:
        """Raises CONFLICT unless it failed or was cancelled."""


class External(Protocol):
    """What is asked of jobs that run in somebody else's queue, beyond what is asked of all."""

    async def submit(
        self, tx: Statements, principal: Principal, *, payload: dict[str, Any], priority: JobPriority
    ) -> tuple[Job, str]:
        """Accept a job; its reporter's token comes with it, once. Raises VALIDATION_FAILED."""

    def committed(self) -> None:
        """The transaction of a ``submit`` has been committed."""

    async def knows(self, job_id: str, token: str) -> bool:
        """Whether the token is that job's."""

    async def report(self, job_id: str, report: ReportJob) -> None:
        """Raises CONFLICT when the job is over."""


class Files(Protocol):
    """The bytes of artifacts, by the keys that stand in the jobs."""

    async def link(self, key: str, method: str) -> str | None:
        """Where else they can be had for a while, by GET or HEAD; None: nowhere."""

    async def open(self, key: str, start: int, length: int) -> AsyncGenerator[bytes]:
        """That part of them, in pieces. Raises FileNotFoundError."""


Once = Callable[[Asked, Act], Awaitable[tuple[int, bytes]]]
"""``delivery.once.once`` or ``at_a_stroke`` on the process's database."""

Check = Callable[[], Awaitable[bool]]
"""Whether one thing that serving depends on works now."""


@dataclass(frozen=True, slots=True)
class AdminServices:
    """What administrators ask. ``vitals`` tells how this node fares, ``nodes`` how all do and ``node`` one of that
    name, if there is one; these may raise UNAVAILABLE.
    """

    verbs: Administration
    vitals: Callable[[], NodeState]
    nodes: Callable[[], Awaitable[list[dict[str, Any]]]]
    node: Callable[[str], Awaitable[dict[str, Any] | None]]


@dataclass(frozen=True, slots=True)
class Services:
    """``limiter`` counts REST requests by user, ``report_limiter`` reports by job. ``metrics_open`` shows metrics to everyone; otherwise it takes
    ``metrics_token``, and with none they are not there. ``max_body_bytes`` and ``max_json_depth`` are the
    contract's limits (section 10).
    """

    admission: Admission
    inbox: Inbox
    relay: Relay
    jobs: Jobs
    external: External
    files: Files
    once: Once
    at_a_stroke: Once
    limiter: Limiter
    report_limiter: Limiter
    origins: Origins
    peers: Peers
    audit: SecurityLog
    admin: AdminServices
    ready: Mapping[str, Check]
    draining: Callable[[], bool]
    metrics: CollectorRegistry
    metrics_open: bool
    metrics_token: str | None
    public_https: bool
    max_body_bytes: int = 256 * 1024
    max_json_depth: int = 32
