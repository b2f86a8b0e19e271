"""What Redis runs, in Lua."""

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Script:
    text: str

    @cached_property
    def sha(self) -> str:
        """The SHA-1 that Redis knows it by."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()
