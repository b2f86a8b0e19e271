"""Kinds: what a function has to be, and what its payload has to be."""

from datetime import date
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from tidings import job
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.job import Rate
from tidings.jobs import kinds
from tidings.jobs.context import JobContext
from tidings.jobs.kinds import Kind, KindError, Registry, payload_model


class Part(BaseModel):
    pages: int


class Report(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    day: date
    parts: list[Part] = []


async def build(ctx: JobContext, payload: Report) -> None:
    """A kind as it should be."""


def build_plain(ctx: JobContext, payload: Report) -> None:
    """A plain one."""


async def one_parameter(ctx: JobContext) -> None: ...


async def by_name(ctx: JobContext, *, payload: Report) -> None: ...


async def no_model(ctx: JobContext, payload: dict[str, int]) -> None: ...


async def not_annotated(ctx, payload):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - that is the fault
    ...


async def other_context(ctx: int, payload: Report) -> None: ...


def registered(**values: Any) -> Kind:
    registry = Registry()
    assert registry.job("report.build", **values)(build) is build
    kind = registry.get("report.build")
    assert kind is not None
    return kind


def test_the_decorator_leaves_the_function_alone() -> None:
    """A kind's function can still be called, and so be tested, like any other."""
    kind = registered(attempts=5, timeout=1.5, concurrency=2)
    assert (kind.function, kind.model) == (build, Report)
    assert (kind.attempts, kind.timeout, kind.concurrency) == (5, 1.5, 2)


def test_the_public_decorator_registers_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`@tidings.job("report.build")` on an async or plain function: known without further ado."""
    monkeypatch.setattr(kinds, "REGISTRY", Registry())
    job("report.build")(build)
    assert [kind.name for kind in kinds.REGISTRY] == ["report.build"]


def test_async_and_plain_are_told_apart() -> None:
    """Plain functions run in a process pool, and so need to be found by name."""
    registry = Registry()
    registry.job("a")(build)
    registry.job("b")(build_plain)
    assert [kind.plain for kind in registry] == [False, True]
    assert [kind.target for kind in registry] == [f"{__name__}:build", f"{__name__}:build_plain"]


@pytest.mark.parametrize("name", ["a", "report.build", "sendMail", "a-b.c_d.9"])
def test_names(name: str) -> None:
    """Names are words with dots between."""
    Registry().job(name)(build)


@pytest.mark.parametrize("name", ["", ".", "a.", ".a", "a..b", "a b", "9", "ä", "a\n", "a" * 101, "external"])
def test_no_names(name: str) -> None:
    """A name that is none is refused where it is written, as is the reserved one."""
    with pytest.raises(KindError, match="name"):
        Registry().job(name)(build)


@pytest.mark.parametrize("values", [{"attempts": 0}, {"attempts": 101}, {"timeout": 0}, {"concurrency": 0}])
def test_values_out_of_range(values: dict[str, Any]) -> None:
    """So is a number that makes no sense."""
    with pytest.raises(KindError, match=next(iter(values))):
        Registry().job("a", **values)(build)


@pytest.mark.parametrize("rate", [(0, 1.0), (1, 0.0), (1, -1.0), (1, float("nan")), (1, 86_401.0)])
def test_no_rates(rate: tuple[int, float]) -> None:
    """A rate is of at least one start, in a time of which starts are remembered."""
    with pytest.raises(KindError, match="rate"):
        Registry().job("a", rate=rate)(build)


def test_rate() -> None:
    """ "per-kind attempts, timeout, concurrency and rate": so many starts in so many seconds."""
    registry = Registry()
    registry.job("a", rate=(100, 60.0))(build)
    assert [kind.rate for kind in registry] == [Rate(100, 60.0)]


@pytest.mark.parametrize("timeout", [float("inf"), float("nan"), -1.0])
def test_no_timeouts(timeout: float) -> None:
    """Endless is no timeout."""
    with pytest.raises(KindError, match="timeout"):
        Registry().job("a", timeout=timeout)(build)


@pytest.mark.parametrize("function", [one_parameter, by_name, no_model, not_annotated, other_context])
def test_signatures(function: kinds.JobFunction) -> None:
    """A function that could not be called says so when it is decorated, and says what it should take."""
    with pytest.raises(KindError, match=r"\(ctx: JobContext, payload: SomeModel\)"):
        Registry().job("a")(function)


def test_only_functions() -> None:
    """An object that can be called has no name to be found by."""

    class Callable:
        def __call__(self, ctx: JobContext, payload: Report) -> None: ...

    with pytest.raises(KindError, match="is no function"):
        payload_model(Callable())


def test_a_plain_function_must_be_importable() -> None:
    """One that is hidden in another function cannot be found by the process that is to run it."""

    def hidden(ctx: JobContext, payload: Report) -> None: ...

    with pytest.raises(KindError, match="top of a module"):
        Registry().job("a")(hidden)


def test_an_async_function_may_hide() -> None:
    """One that runs here need not be found."""

    async def hidden(ctx: JobContext, payload: Report) -> None: ...

    Registry().job("a")(hidden)


def test_two_functions_of_one_name() -> None:
    """A name means one function; registering the same one again, as a reload does, is fine."""
    registry = Registry()
    registry.job("a")(build)
    registry.job("a")(build)
    with pytest.raises(KindError, match="two functions"):
        registry.job("a")(build_plain)


def test_payloads_are_read_as_json() -> None:
    """Even a strict model takes a date from a JSON string."""
    parsed = registered().parse({"day": "2026-01-31", "parts": [{"pages": 3}]})
    assert parsed == Report(day=date(2026, 1, 31), parts=[Part(pages=3)])


def test_faults_of_a_payload() -> None:
    """VALIDATION_FAILED 422 with errors: [{field, message}], each path from `payload` on."""
    with pytest.raises(TidingsError) as caught:
        registered().parse({"parts": [{"pages": "three"}], "color": "red"})
    assert caught.value.code is ErrorCode.VALIDATION_FAILED
    assert {field.field for field in caught.value.fields} == {
        "payload.day",
        "payload.parts.0.pages",
        "payload.color",
    }
    assert FieldError("payload.day", "Field required") in caught.value.fields


def test_faults_are_bounded() -> None:
    """A payload with a thousand faults does not get a thousand answers, nor long ones."""
    with pytest.raises(TidingsError) as caught:
        registered().parse({"x" * 1000 + str(n): n for n in range(1000)})
    assert len(caught.value.fields) == 20
    assert max(len(field.field) for field in caught.value.fields) <= 200


def test_unknown_kind() -> None:
    """A job of a kind nobody ever registered is 422 `UNKNOWN_KIND`."""
    with pytest.raises(TidingsError) as caught:
        Registry().parse("report.build", {})
    assert caught.value.code is ErrorCode.UNKNOWN_KIND


def test_schema() -> None:
    """Workers register their kinds and the JSON Schema of each payload, with what else others have to know."""
    schema = registered(attempts=7).schema()
    assert schema["required"] == ["day"]
    assert schema["additionalProperties"] is False
    assert schema["x-tidings-attempts"] == 7
