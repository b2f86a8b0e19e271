"""What clients may ask for, field by field: the same forms for REST and for socket events.

Field names on the wire are camelCase; unknown fields are refused. Nothing here decides who may ask.
"""

from enum import StrEnum
from typing import Annotated, Any, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from tidings.domain import strictjson
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.job import JobPriority
from tidings.domain.notification import CONTENT_MAX, DATA_MAX_BYTES, TITLE_MAX, Audience, Priority

PAGE_MAX = 100
PAGE_DEFAULT = 50
MARK_MAX = 100
DELAY_MAX_SECONDS = 30 * 86_400
SEQUENCE_MAX = 2**53 - 1
STAGE_MAX = 100
MESSAGE_MAX = 1000


def _storable(text: str) -> str:
    """PostgreSQL cannot hold U+0000 in a text."""
    if "\x00" in text:
        raise ValueError("holds a null character")
    return text


def _small(data: dict[str, Any] | None) -> dict[str, Any] | None:
    if data is not None and len(strictjson.dumps(data)) > DATA_MAX_BYTES:
        raise ValueError(f"is over {DATA_MAX_BYTES} bytes of compact JSON")
    return data


Text = Annotated[str, AfterValidator(_storable)]
Id = Annotated[Text, Field(max_length=128)]
Data = Annotated[dict[str, Any] | None, AfterValidator(_small)]


class Form(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, extra="forbid", frozen=True, strict=True, hide_input_in_errors=True
    )


class CreateNotification(Form):
    title: Annotated[Text, Field(min_length=1, max_length=TITLE_MAX)]
    content: Annotated[Text, Field(min_length=1, max_length=CONTENT_MAX)]
    priority: Annotated[Priority, Field(strict=False)] = Priority.MEDIUM
    user_id: Id | None = None
    audience: Annotated[Audience | None, Field(strict=False)] = None
    tenant_id: Id | None = None
    data: Data = None


class MarkRead(Form):
    notification_id: Id | None = None
    notification_ids: Annotated[list[Id] | None, Field(min_length=1, max_length=MARK_MAX)] = None

    def ids(self) -> list[str]:
        """The ids that are meant.

        Raises:
            TidingsError: VALIDATION_FAILED unless exactly one of the fields is there.
        """
        if (self.notification_id is None) == (self.notification_ids is None):
            fault = FieldError("notificationId", "either this or notificationIds")
            raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=(fault,))
        return self.notification_ids or [str(self.notification_id)]


class Nothing(Form):
    """No fields at all."""


class ListNotifications(Form):
    cursor: Annotated[str | None, Field(max_length=256)] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    unread: bool = False


class SubscribeJob(Form):
    job_id: Id
    last_event_id: Annotated[str | None, Field(max_length=128)] = None


class UnsubscribeJob(Form):
    job_id: Id


class RefreshToken(Form):
    token: Annotated[str, Field(max_length=8192)]


class CreateJob(Form):
    kind: Annotated[str, Field(min_length=1, max_length=100)]
    payload: dict[str, Any]
    priority: Annotated[JobPriority, Field(strict=False)] = JobPriority.STANDARD
    delay_seconds: Annotated[float, Field(ge=0, le=DELAY_MAX_SECONDS)] = 0.0


class ReportType(StrEnum):
    """What whoever runs an external job may say of it."""

    PROGRESS = "progress"
    COMPLETED = "completed"
    FAILED = "failed"
    HEARTBEAT = "heartbeat"


class ReportedError(Form):
    code: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]
    message: Annotated[Text, Field(max_length=MESSAGE_MAX)]


class ReportJob(Form):
    """``progress`` is 0 to 1. A sequence number that is not above the last one's is a repetition."""

    sequence: Annotated[int, Field(ge=0, le=SEQUENCE_MAX)]
    type: Annotated[ReportType, Field(strict=False)]
    progress: Annotated[float | None, Field(ge=0, le=1)] = None
    stage: Annotated[Text | None, Field(min_length=1, max_length=STAGE_MAX)] = None
    message: Annotated[Text | None, Field(max_length=MESSAGE_MAX)] = None
    result: Any = None
    error: ReportedError | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.result is not None and self.type is not ReportType.COMPLETED:
            raise ValueError("a result is told with `completed`")
        if self.error is not None and self.type is not ReportType.FAILED:
            raise ValueError("an error is told with `failed`")
        return self


class CreateTicket(Form):
    for_: Annotated[str, Field(alias="for", max_length=256)]


F = TypeVar("F", bound=Form)


def fill(form: type[F], data: Any) -> F:
    """Read a form out of parsed JSON.

    Raises:
        TidingsError: VALIDATION_FAILED, naming each field that is wrong and never its content.
    """
    try:
        return form.model_validate(data)
    except ValidationError as fault:
        raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=field_errors(fault)) from None


def field_errors(fault: ValidationError) -> tuple[FieldError, ...]:
    """The contract's ``errors``; one for the whole is under the empty name."""
    return tuple(
        FieldError(".".join(str(part) for part in error["loc"]), _message(error["msg"]))
        for error in fault.errors(include_url=False, include_context=False, include_input=False)
    )


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")
