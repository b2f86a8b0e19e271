"""Where an event goes. A channel is a typed value; its string form is made here and nowhere else."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from tidings.domain.people import TenantId, UserId

GLOBAL_TENANT = TenantId("global")
"""The counter that ``global`` events are numbered by. No tenant's id looks like this: ids are UUIDs."""


class ChannelKind(StrEnum):
    USER = "user"
    TENANT = "tenant"
    GLOBAL = "global"
    JOB = "job"
    SIGNAL = "signal"


@dataclass(frozen=True, slots=True, order=True)
class Channel:
    """``(tenant, kind, name)``: the events of one user, of one tenant's users, of everyone, or of one job."""

    tenant: TenantId
    kind: ChannelKind
    name: str

    @property
    def key(self) -> str:
        """The one string form, for brokers and metrics: ``tenant/kind/name``."""
        return f"{self.tenant}/{self.kind}/{self.name}"


def user_channel(tenant: TenantId, user: UserId) -> Channel:
    """What is addressed to one user, on whatever device."""
    return Channel(tenant, ChannelKind.USER, user)


@lru_cache(maxsize=1024)
def tenant_channel(tenant: TenantId) -> Channel:
    """What is addressed to all users of one tenant."""
    return Channel(tenant, ChannelKind.TENANT, "all")


def job_channel(tenant: TenantId, job_id: str) -> Channel:
    """The life of one job."""
    return Channel(tenant, ChannelKind.JOB, job_id)


GLOBAL_CHANNEL = Channel(GLOBAL_TENANT, ChannelKind.GLOBAL, "all")
"""What is addressed to everyone of every tenant."""

LIMBO = Channel(GLOBAL_TENANT, ChannelKind.SIGNAL, "limbo")
"""What a session hears that is to hear nothing more: nothing is ever published there."""

SIGNALS = TenantId("signals")
"""Whose channels processes tell each other on: nobody's, so that signals move no client's position."""


def signal_channel(name: str) -> Channel:
    """The signals of that name."""
    return Channel(SIGNALS, ChannelKind.SIGNAL, name)
