"""Kinds of jobs: functions that can be asked for by name, each with the model of its payload.

    @tidings.job("report.build", attempts=5, timeout=600)
    async def build(ctx: JobContext, payload: Report) -> dict[str, int]: ...

What is wrong with a kind is said where it is written, when its module is imported. Nothing here runs a job,
and importing this needs neither a database nor an event loop.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_type_hints

from pydantic import BaseModel, ValidationError

from tidings.domain import strictjson
from tidings.domain.errors import ErrorCode, FieldError, TidingsError
from tidings.domain.job import EXTERNAL, Rate
from tidings.jobs.context import JobContext

JobFunction = Callable[[JobContext, Any], Any]
_F = TypeVar("_F", bound=JobFunction)

DEFAULT_ATTEMPTS = 3
ATTEMPTS_KEYWORD = "x-tidings-attempts"
RATE_MAX_SECONDS = 86_400
FAULTS_SHOWN = 20
"""The most that are told of one payload."""
_MOST_ATTEMPTS = 100
_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]*(\.[a-zA-Z0-9_-]+)*")
_NAME_MAX = 100
_RESERVED = frozenset({EXTERNAL})
_PATH_MAX = 200


class KindError(TypeError):
    """A function cannot be a kind. The message says what to change."""


@dataclass(frozen=True, slots=True)
class Kind:
    """``timeout`` is in seconds for one attempt, None for the worker's own; ``concurrency`` is how many of
    the kind one worker runs at once, None for as many as it can; ``rate`` is for all workers together.
    """

    name: str
    function: JobFunction
    model: type[BaseModel]
    attempts: int = DEFAULT_ATTEMPTS
    timeout: float | None = None
    concurrency: int | None = None
    rate: Rate | None = None

    @property
    def plain(self) -> bool:
        """Whether it is no coroutine function, and so runs in a process of its own."""
        return not inspect.iscoroutinefunction(self.function)

    @property
    def module(self) -> str:
        return self.function.__module__

    @property
    def target(self) -> str:
        """Where another process finds the function: ``module:name``."""
        return f"{self.function.__module__}:{self.function.__qualname__}"

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of the payload, for processes that do not know the kind's code.

        They need its attempts too, which stand there as an annotation (section 6.5: an unknown keyword).
        """
        return {**self.model.model_json_schema(), ATTEMPTS_KEYWORD: self.attempts}

    def parse(self, payload: dict[str, Any]) -> BaseModel:
        """The payload as the kind's model.

        Raises:
            TidingsError: VALIDATION_FAILED, with a field ``payload.<path>`` for each fault.
        """
        try:
            # As JSON, because a strict model takes a date from a JSON string and from no Python one.
            return self.model.model_validate_json(strictjson.dumps(payload))
        except ValidationError as fault:
            raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=_fields(fault)) from None


class Registry:
    """The kinds of one process."""

    def __init__(self) -> None:
        self._kinds: dict[str, Kind] = {}

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._kinds.values())

    def get(self, name: str) -> Kind | None:
        return self._kinds.get(name)

    def parse(self, name: str, payload: dict[str, Any]) -> BaseModel:
        """The payload as the model of the kind of that name.

        Raises:
            TidingsError: UNKNOWN_KIND, or as ``Kind.parse``.
        """
        kind = self._kinds.get(name)
        if kind is None:
            raise TidingsError(ErrorCode.UNKNOWN_KIND)
        return kind.parse(payload)

    def add(self, kind: Kind) -> None:
        """Make it known.

        Raises:
            KindError: its values are out of range, or another function has the name.
        """
        _check(kind)
        known = self._kinds.setdefault(kind.name, kind)
        if known.target != kind.target:
            raise KindError(f"two functions want to be {kind.name!r}: {known.target} and {kind.target}")

    def job(
        self,
        name: str,
        *,
        attempts: int = DEFAULT_ATTEMPTS,
        timeout: float | None = None,
        concurrency: int | None = None,
        rate: tuple[int, float] | None = None,
    ) -> Callable[[_F], _F]:
        """Make the function a kind of this registry. See ``job``."""
        pace = None if rate is None else Rate(*rate)

        def register(function: _F) -> _F:
            model = payload_model(function)
            self.add(Kind(name, function, model, attempts, timeout, concurrency, pace))
            return function

        return register


REGISTRY = Registry()
"""Where ``@tidings.job`` registers."""


def job(
    name: str,
    *,
    attempts: int = DEFAULT_ATTEMPTS,
    timeout: float | None = None,
    concurrency: int | None = None,
    rate: tuple[int, float] | None = None,
) -> Callable[[_F], _F]:
    """Make a function a kind of job: async, or plain, which then runs in a process of its own.

    It takes a ``JobContext`` and a pydantic model, and returns a JSON value. An attempt may take ``timeout``
    seconds; at most ``concurrency`` of the kind run at once in one worker. ``rate=(100, 60.0)`` lets all workers
    together start no more than 100 attempts in any 60 seconds; the others wait. The function itself is unchanged.

    Raises:
        KindError: the name, the signature or a value is not as it should be.
    """
    return REGISTRY.job(name, attempts=attempts, timeout=timeout, concurrency=concurrency, rate=rate)


def payload_model(function: JobFunction) -> type[BaseModel]:
    """The model that the function takes.

    Raises:
        KindError: its signature is not ``(ctx: JobContext, payload: SomeModel)``.
    """
    if not inspect.isfunction(function):
        raise KindError(f"{function!r} is no function")
    where = f"{function.__module__}.{function.__qualname__}"
    wanted = f"{where} should take (ctx: JobContext, payload: SomeModel)"
    parameters = list(inspect.signature(function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) != 2 or any(each.kind not in positional for each in parameters):  # noqa: PLR2004 - ctx and payload
        raise KindError(wanted)
    try:
        hints = get_type_hints(function)
    except NameError as fault:
        raise KindError(f"{wanted}; {fault.name!r} is not known at the top of its module") from None
    context, payload = (hints.get(each.name) for each in parameters)
    if context not in (None, JobContext):
        raise KindError(f"{wanted}; the first is annotated otherwise")
    if not (isinstance(payload, type) and issubclass(payload, BaseModel)):
        raise KindError(f"{wanted}; the second is not annotated with a pydantic model")
    return payload


def _check(kind: Kind) -> None:
    if _NAME.fullmatch(kind.name) is None or len(kind.name) > _NAME_MAX:
        raise KindError(f"{kind.name!r} is no name of a kind: words of letters, digits, _ and -, with dots")
    if kind.name in _RESERVED:
        raise KindError(f"{kind.name!r} is the name of jobs that run elsewhere")
    if not 1 <= kind.attempts <= _MOST_ATTEMPTS:
        raise KindError(f"{kind.name}: attempts are 1 to {_MOST_ATTEMPTS}")
    if kind.timeout is not None and not 0 < kind.timeout < math.inf:
        raise KindError(f"{kind.name}: timeout is in seconds, above 0")
    if kind.concurrency is not None and kind.concurrency < 1:
        raise KindError(f"{kind.name}: concurrency is at least 1")
    if kind.rate is not None and not (kind.rate.starts >= 1 and 0 < kind.rate.seconds <= RATE_MAX_SECONDS):
        raise KindError(f"{kind.name}: rate is (starts, seconds), at least 1 in at most {RATE_MAX_SECONDS} s")
    if kind.plain and ("<locals>" in kind.target or kind.module == "__main__"):
        raise KindError(
            f"{kind.name}: {kind.target} runs in another process, which has to import it: "
            "put it at the top of a module"
        )


def fault_at(path: Iterable[str | int], message: str) -> FieldError:
    """A fault at that place of a payload."""
    return FieldError(".".join(("payload", *map(str, path)))[:_PATH_MAX], message)


def _fields(fault: ValidationError) -> tuple[FieldError, ...]:
    errors = fault.errors(include_url=False, include_context=False, include_input=False)
    return tuple(fault_at(error["loc"], error["msg"]) for error in errors[:FAULTS_SHOWN])
