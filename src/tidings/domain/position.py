"""Where one stands in what was published.

Each tenant has one epoch (a random word made when its counter begins) and one counter. A position is a
number of that counter: one number says how much of *all* of a tenant's channels has been seen. A cursor is a
position among the tenant's events and one among everyone's, which is all that a client has to remember.
"""

import re
from dataclasses import dataclass

_CURSOR = re.compile(r"([0-9a-z]{1,16})\.(0|[1-9][0-9]{0,15})\.([0-9a-z]{1,16})\.(0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class Position:
    """The ``offset``-th event of one tenant's ``epoch``; offset 0 is before the first."""

    epoch: str
    offset: int


NOWHERE = Position("", 0)
"""Of what was never numbered."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """What has been seen of a tenant's own events and of everyone's."""

    tenant: Position
    everyone: Position

    def __str__(self) -> str:
        return f"{self.tenant.epoch}.{self.tenant.offset}.{self.everyone.epoch}.{self.everyone.offset}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what ``str`` wrote.

        Raises:
            ValueError: the text is no cursor. Its content is never repeated in the message.
        """
        match = _CURSOR.fullmatch(text)
        if match is None:
            raise ValueError("not a cursor")
        epoch_t, off_t, epoch_g, off_g = match.groups()
        return cls(Position(epoch_t, int(off_t)), Position(epoch_g, int(off_g)))
