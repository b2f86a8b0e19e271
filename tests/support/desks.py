"""A ``Desk`` that keeps what running code hands in."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tidings.artifacts.base import Source

Refusal = Callable[[str], None]


@dataclass
class FakeDesk:
    """``refuse`` may raise instead of an artifact being taken, given its name."""

    reports: list[tuple[float, str | None, str | None]] = field(default_factory=list)
    artifacts: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    reported: asyncio.Event = field(default_factory=asyncio.Event)
    refuse: Refusal = field(default=lambda _: None)

    @property
    def fractions(self) -> list[float]:
        return [fraction for fraction, _, _ in self.reports]

    def report(self, fraction: float, message: str | None, stage: str | None) -> None:
        self.reports.append((fraction, message, stage))
        self.reported.set()

    async def attach(self, name: str, source: Source, media_type: str) -> None:
        self.refuse(name)
        data = await asyncio.to_thread(source.read_bytes) if isinstance(source, Path) else source
        self.artifacts[name] = data, media_type
