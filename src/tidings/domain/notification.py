"""A notification: what one person is to be told, with its limits."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from tidings.domain.channel import GLOBAL_CHANNEL, Channel, tenant_channel, user_channel
from tidings.domain.clock import rfc3339, rfc3339_or_none
from tidings.domain.people import TenantId, UserId

TITLE_MAX = 200
CONTENT_MAX = 1000
DATA_MAX_BYTES = 8 * 1024


class Audience(StrEnum):
    USER = "user"
    TENANT = "tenant"
    GLOBAL = "global"


class Priority(StrEnum):
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Notification:
    """``user_id`` is None unless the audience is one user; the receipt fields are the reader's own."""

    id: str
    tenant_id: TenantId
    audience: Audience
    user_id: UserId | None
    title: str
    content: str
    priority: Priority
    data: dict[str, Any] | None
    created_at: datetime
    created_by: UserId
    read_at: datetime | None = None
    archived_at: datetime | None = None

    @property
    def channel(self) -> Channel:
        if self.audience is Audience.GLOBAL:
            return GLOBAL_CHANNEL
        if self.user_id is None:
            return tenant_channel(self.tenant_id)
        return user_channel(self.tenant_id, self.user_id)

    def without_receipt(self) -> "Notification":
        """As everybody may see it, before anyone has read it."""
        return replace(self, read_at=None, archived_at=None)

    def to_json(self) -> dict[str, Any]:
        """The contract's shape (section 11)."""
        return {
            "id": self.id,
            "tenantId": self.tenant_id,
            "audience": self.audience.value,
            "userId": self.user_id,
            "title": self.title,
            "content": self.content,
            "priority": self.priority.value,
            "data": self.data,
            "createdAt": rfc3339(self.created_at),
            "createdBy": self.created_by,
            "readAt": rfc3339_or_none(self.read_at),
            "archivedAt": rfc3339_or_none(self.archived_at),
        }


@dataclass(frozen=True, slots=True)
class Unread:
    """How many a user has not read. Of two answers the one with the higher ``version`` is the newer."""

    count: int
    version: int

    def to_json(self) -> dict[str, int]:
        return {"count": self.count, "version": self.version}
