"""What one process knows of all kinds: how often a job is tried, and what its payload has to be.

A kind whose code is here checks payloads itself. Of the others the database has the JSON Schemas, as their
workers registered them; a payload for several of them is checked without reading them each time.
"""

import asyncio
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from tidings.domain import strictjson
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.job import EXTERNAL
from tidings.jobs.kinds import ATTEMPTS_KEYWORD, DEFAULT_ATTEMPTS, Registry
from tidings.store import kinds as kind_rows
from tidings.store.stroke import Statements

FRESH_SECONDS = 5.0
"""How long a schema is used before the database is asked again; for a kind that is not there it is asked at once."""
_AT_ONCE_BYTES = 4096
"""Of a payload as JSON: checking a larger one would hold up everything else on the event loop."""


@dataclass(frozen=True, slots=True)
class _Elsewhere:
    """A kind of other processes. ``schema`` is JSON."""

    attempts: int
    schema: str


class Register:
    """``time`` is in seconds, and never goes back."""

    def __init__(self, registry: Registry, *, time: Callable[[], float] = monotonic) -> None:
        self._registry = registry
        self._time = time
        self._elsewhere: dict[str, _Elsewhere] = {}
        self._fresh_until = -math.inf

    async def attempts(self, tx: Statements, name: str) -> int:
        """How often a job of that kind is tried.

        Raises:
            TidingsError: UNKNOWN_KIND, nobody ever registered it.
        """
        kind = self._registry.get(name)
        return kind.attempts if kind is not None else (await self._find(tx, name)).attempts

    async def check(self, tx: Statements, name: str, payload: dict[str, Any]) -> None:
        """Let payloads pass that the kind takes.

        Raises:
            TidingsError: UNKNOWN_KIND; VALIDATION_FAILED, with a field ``payload.<path>`` for each fault.
        """
        if name == EXTERNAL:
            raise TidingsError(ErrorCode.UNKNOWN_KIND, detail="an external job has no code here")
        kind = self._registry.get(name)
        if kind is not None:
            kind.parse(payload)
            return
        schema = (await self._find(tx, name)).schema
        # Where all kinds are one's own, JSON Schema is not needed, and it takes long to import.
        from tidings.jobs.payloads import faults

        if len(strictjson.dumps(payload)) <= _AT_ONCE_BYTES:
            found = faults(schema, payload)
        else:
            found = await asyncio.to_thread(faults, schema, payload)
        if found:
            raise TidingsError(ErrorCode.VALIDATION_FAILED, fields=found)

    async def _find(self, tx: Statements, name: str) -> _Elsewhere:
        if name not in self._elsewhere or self._time() >= self._fresh_until:
            self._elsewhere = {
                kind: _Elsewhere(int(schema.get(ATTEMPTS_KEYWORD, DEFAULT_ATTEMPTS)), json.dumps(schema))
                for kind, schema in (await kind_rows.schemas(tx)).items()
            }
            self._fresh_until = self._time() + FRESH_SECONDS
        found = self._elsewhere.get(name)
        if found is None:
            raise TidingsError(ErrorCode.UNKNOWN_KIND)
        return found
