"""What the REST surface is built on. ``tidings.app`` fills it in; nothing here is made by the surface itself."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.delivery.admit import Admission
from tidings.delivery.audit import SecurityLog
from tidings.delivery.inbox import Inbox
from tidings.delivery.once import Act, Asked
from tidings.delivery.relay import Relay
from tidings.domain.job import Job, JobPriority, JobStatus
from tidings.domain.people import Principal
from tidings.identity.limiter import Limiter
from tidings.identity.origins import Origins
from tidings.identity.peer import Peers

Transaction = AsyncConnection
"""An open write transaction: passed on from ``once`` to who writes, and never used here."""

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
        tx: Transaction,
        principal: Principal,
        *,
        kind: str,
        payload: dict[str, Any],
        priority: JobPriority,
    ) -> Job:
        """Accept a job. Raises UNKNOWN_KIND, VALIDATION_FAILED."""

    def committed(self) -> None:
        """The transaction of a ``submit`` has been committed."""

    async def get(self, principal: Principal, job_id: str) -> Job: ...

    async def page(
        self,
        principal: Principal,
        *,
        cursor: str | None,
        limit: int,
        status: JobStatus | None,
        kind: str | None,
    ) -> Page[Job]:
        """The principal's own jobs, the newest first. Raises VALIDATION_FAILED for a broken cursor."""

    async def cancel(self, principal: Principal, job_id: str) -> Job:
        """Raises CONFLICT when it is over."""

    async def retry(self, principal: Principal, job_id: str) -> Job:
        """Raises CONFLICT unless it failed or was cancelled."""


Once = Callable[[Asked, Act], Awaitable[tuple[int, bytes]]]
"""``delivery.once.once`` on the process's database."""

Check = Callable[[], Awaitable[bool]]
"""Whether one thing that serving depends on works now."""


@dataclass(frozen=True, slots=True)
class Services:
    """``limiter`` counts REST requests by user. ``metrics_open`` shows metrics to everyone; otherwise it takes
    ``metrics_token``, and with none they are not there. ``max_body_bytes`` and ``max_json_depth`` are the
    contract's limits (section 10).
    """

    admission: Admission
    inbox: Inbox
    relay: Relay
    jobs: Jobs
    once: Once
    limiter: Limiter
    origins: Origins
    peers: Peers
    audit: SecurityLog
    ready: Mapping[str, Check]
    draining: Callable[[], bool]
    metrics_open: bool
    metrics_token: str | None
    public_https: bool
    max_body_bytes: int = 256 * 1024
    max_json_depth: int = 32
