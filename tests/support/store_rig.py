"""What tests of the store begin with: a migrated database, and people, notifications and jobs to put into it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support import tables
from tidings.domain.ids import new_id
from tidings.domain.job import Job, JobPriority, JobStatus
from tidings.domain.notification import Audience, Notification, Priority
from tidings.domain.people import Role, Tenant, TenantId, TenantStatus, User, UserId
from tidings.store import kinds, tenants, users
from tidings.store.database import Database
from tidings.store.job_rows import StoredJob

START = datetime(2026, 1, 31, 12, tzinfo=UTC)
KINDS = ("demo.steps", "report.build", "external")


def after(seconds: float) -> datetime:
    """A moment that many seconds after ``START``."""
    return START + timedelta(seconds=seconds)


@asynccontextmanager
async def migrated(url: str) -> AsyncIterator[Database]:
    """The database at ``url`` with every table and the kinds of ``KINDS``, open for the time of the block."""
    await tables.lay(url)
    async with Database(url) as database:
        async with database.write() as tx:
            await kinds.register(tx, {kind: {} for kind in KINDS}, START)
        yield database


def a_tenant(slug: str = "acme") -> Tenant:
    return Tenant(TenantId(new_id()), slug, slug.title(), TenantStatus.ACTIVE, START)


def a_user(tenant: Tenant, name: str = "ann", role: Role = Role.USER, at: datetime = START) -> User:
    email = f"{name}@{tenant.slug}.example"
    return User(UserId(new_id()), tenant.id, email, name.title(), role, active=True, created_at=at)


async def settle(database: Database, slug: str = "acme", *names: str) -> tuple[Tenant, list[User]]:
    """A new tenant with these users, ``ann`` if none is named."""
    tenant = a_tenant(slug)
    people = [a_user(tenant, name) for name in names or ("ann",)]
    async with database.write() as tx:
        await tenants.insert(tx, tenant)
        for user in people:
            assert await users.insert(tx, user)
    return tenant, people


def a_notification(
    author: User, to: User | Tenant | None, title: str = "Hello", at: datetime = START
) -> Notification:
    """To a user, to a tenant or, for None, to everyone."""
    audience = Audience.GLOBAL if to is None else Audience.TENANT if isinstance(to, Tenant) else Audience.USER
    return Notification(
        id=new_id(),
        tenant_id=author.tenant_id if to is None else to.id if isinstance(to, Tenant) else to.tenant_id,
        audience=audience,
        user_id=to.id if isinstance(to, User) else None,
        title=title,
        content="There is news.",
        priority=Priority.MEDIUM,
        data={"n": 1, "text": "日本"},
        created_at=at,
        created_by=author.id,
    )


def a_job(owner: User, *, at: datetime = START, **changes: Any) -> StoredJob:
    """A queued job that may run from ``at`` on; ``changes`` are of the job or of what is stored beside it."""
    job = Job(
        id=new_id(),
        tenant_id=owner.tenant_id,
        user_id=owner.id,
        kind="demo.steps",
        status=JobStatus.QUEUED,
        stage=None,
        progress=0.0,
        attempt=0,
        max_attempts=3,
        priority=JobPriority.STANDARD,
        payload={"steps": 3},
        result=None,
        error=None,
        parent_id=None,
        artifacts=(),
        created_at=at,
        started_at=None,
        finished_at=None,
    )
    of_job = {name: value for name, value in changes.items() if name in Job.__slots__}
    beside = {name: value for name, value in changes.items() if name not in Job.__slots__}
    return replace(StoredJob(replace(job, **of_job), run_at=at), **beside)
