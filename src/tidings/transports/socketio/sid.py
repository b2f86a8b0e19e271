"""The names of sessions: secrets, in front of which stands the worker that has the session, if there are several.

Which sessions there are is not known here.
"""

import re

from tidings.domain.crew import Crew
from tidings.domain.ids import new_secret

_OWNER = re.compile(rb"[?&]sid=(\d+)\.")


class Sids:
    """Makes names, and tells whose they are. Without a crew they are secrets and nothing else."""

    def __init__(self, crew: Crew | None) -> None:
        self._prefix = "" if crew is None else f"{crew.number}."
        others = () if crew is None else set(range(crew.count)) - {crew.number}
        self._others = {b"%d" % number: number for number in others}

    def new(self) -> str:
        """A name that cannot be guessed, nobody else's on this machine."""
        return self._prefix + new_secret()

    def elsewhere(self, target: bytes) -> int | None:
        """The other worker whose session the target of a request names; None if it is to be answered here.

        A target that is written unlike any client writes it is taken for a wrong one.
        """
        found = _OWNER.search(target) if self._others else None
        return None if found is None else self._others.get(found[1])
