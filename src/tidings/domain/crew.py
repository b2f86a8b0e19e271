"""The worker processes of one ``tidings serve --workers N``, seen from one of them.

They share the listening socket and a private directory; what lies there under which name is decided here, and
nothing is opened.
"""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Crew:
    """Worker ``number`` (from 0) of ``count``.

    ``directory`` is theirs alone (mode 0700) and its path is short: a Unix socket's may have 107 bytes at most.
    """

    number: int
    count: int
    directory: Path

    def handover(self, number: int) -> Path:
        """The Unix socket on which that worker takes over connections that are not its peer's."""
        return self.directory / f"handover.{number}"

    def metrics(self, number: int) -> Path:
        """The Unix socket on which that worker tells its own metrics."""
        return self.directory / f"metrics.{number}"
