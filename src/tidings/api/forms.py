"""Forms that REST alone knows. Those that sockets fill in as well are in ``delivery.forms``."""

from typing import Annotated

from pydantic import Field

from tidings.delivery.forms import PAGE_DEFAULT, PAGE_MAX, Form, Id, Text
from tidings.domain.job import JobStatus


class ListJobs(Form):
    cursor: Annotated[str | None, Field(max_length=256)] = None
    limit: Annotated[int, Field(ge=1, le=PAGE_MAX)] = PAGE_DEFAULT
    status: Annotated[JobStatus | None, Field(strict=False)] = None
    kind: Annotated[Text | None, Field(max_length=100)] = None
    parent_id: Id | None = None
