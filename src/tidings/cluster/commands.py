"""What this room asks of a connection to Redis. It makes none: ``app`` hands in the broker, which has one."""

from collections.abc import Sequence
from importlib.resources import files
from typing import Protocol

from tidings.broker.redis.link import Word
from tidings.broker.redis.script import Script


class Commands(Protocol):
    async def run(self, script: Script, key: str | Sequence[str], *words: Word) -> object:
        """Run a script on its key, or on keys with the same hash tag; it reads the words as ``ARGV``. A script that
        Redis has forgotten is loaded.

        The reply is bytes, a number, None, or a list of these. The wait is bounded, and when it is given up the
        script may have been run all the same; a call may overtake another one.

        Raises:
            BrokerUnavailable: Redis is away, is too slow or refuses.
        """


def load(name: str) -> Script:
    """A script that lies beside this file."""
    return Script(files("tidings.cluster").joinpath(name).read_text(encoding="utf-8"))
