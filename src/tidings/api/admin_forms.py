"""What administrators send, field by field. Nothing here decides who may ask."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from tidings.delivery.forms import PAGE_DEFAULT, PAGE_MAX, Form, Id, Text
from tidings.domain.audit import Filter, SecurityEventType
from tidings.domain.clock import read_rfc3339
from tidings.domain.people import NAME_MAX, Role, TenantId, TenantStatus, UserId, is_email, is_name

TOKEN_ID_MAX = 512
AHEAD = timedelta(seconds=30)
"""How far ahead ``issuedBefore`` may lie: as much as clocks may differ. Beyond it, it would be a way to lock out."""


def _email(text: str) -> str:
    if not is_email(text):
        raise ValueError("is no e-mail address")
    return text


def _name(text: str) -> str:
    if not is_name(text):
        raise ValueError(f"is not 1 to {NAME_MAX} printable characters")
    return text


def _moment(value: object) -> datetime:
    return read_rfc3339(value if isinstance(value, str) else "")


def _not_ahead(moment: datetime | None) -> datetime | None:
    if moment is not None and moment > datetime.now(UTC) + AHEAD:
        raise ValueError("lies ahead")
    return moment


Email = Annotated[str, AfterValidator(_email)]
Name = Annotated[str, AfterValidator(_name)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class PutTenant(Form):
    name: Name
    status: Annotated[TenantStatus, Field(strict=False)]


class PutUser(Form):
    email: Email
    name: Name | None = None
    tenant_id: Id
    role: Annotated[Role, Field(strict=False)]
    active: bool


class RevokeTokens(Form):
    jti: Annotated[Text | None, Field(min_length=1, max_length=TOKEN_ID_MAX)] = None
    user_id: Id | None = None
    issued_before: Annotated[Moment | None, AfterValidator(_not_ahead)] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.jti is None) == (self.user_id is None):
            raise ValueError("either `jti` or `userId`")
        if self.jti is not None and self.issued_before is not None:
            raise ValueError("`issuedBefore` goes with `userId`")
        return self


class ListSecurityEvents(Form):
    """``since`` is inclusive, ``until`` is not."""

    cursor: Annotated[str | None, Field(max_length=256)] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    event: Annotated[SecurityEventType | None, Field(strict=False)] = None
    user_id: Id | None = None
    tenant_id: Id | None = None
    since: Moment | None = None
    until: Moment | None = None

    def filter(self) -> Filter:
        user = None if self.user_id is None else UserId(self.user_id)
        return Filter(self.event, user, self.since, self.until)

    def tenant(self) -> TenantId | None:
        return None if self.tenant_id is None else TenantId(self.tenant_id)
