"""Children as their parent's code sees them: which it has asked for, and what is known of each.

A parent is run from its beginning whenever it goes on, so it asks for the same children again and is given
those that there are. Nothing is made here: what is missing is a wish, which the worker fulfils when the parent
begins to wait.
"""

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import Any

import orjson

from tidings.domain import strictjson

MOST_CHILDREN = 1000
DEEPEST = 5
"""How far below a job that a user made its descendants go."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}", re.ASCII)
_DIGEST_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Wish:
    """A child that is to be made. ``key`` is ``label:digest``, the same whenever the parent runs."""

    key: str
    kind: str
    payload: dict[str, Any]
    weight: float


@dataclass(frozen=True, slots=True)
class Known:
    """A child that there is. ``error`` is what it failed with; ``over``: it has ended, one way or the other."""

    key: str
    job_id: str
    over: bool
    succeeded: bool
    result: Any = None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Memory:
    """What a job knows from before: ``resumed`` if it goes on after a wait, at ``progress``, which it had told."""

    children: tuple[Known, ...] = ()
    resumed: bool = False
    progress: float = 0.0
    depth: int = 0

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "children": [asdict(child) for child in self.children]}

    @classmethod
    def of_json(cls, fields: dict[str, Any]) -> "Memory":
        return cls(**{**fields, "children": tuple(Known(**each) for each in fields["children"])})


NOTHING = Memory()


@dataclass(frozen=True, slots=True)
class Child:
    """A child of the running job, as ``JobContext.child`` gives it. ``label`` is its name, or else its kind."""

    key: str
    label: str


class Children:
    """The children of one run of a parent's code."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._known = {known.key: known for known in memory.children}
        self._slots = {_slot(key) for key in self._known}
        self._wishes: dict[str, Wish] = {}
        self._asked: set[str] = set()

    @property
    def wishes(self) -> tuple[Wish, ...]:
        return tuple(self._wishes.values())

    def ask(self, kind: str, payload: dict[str, Any], weight: float, name: str | None) -> Child:
        """The child of that name, or else of that place in the order of asking.

        Raises:
            ValueError: it cannot be asked for, or its payload is nested deeper than a user's may be; the text
                says why.
            TypeError: the payload is no JSON.
        """
        if name is not None and _NAME.fullmatch(name) is None:
            raise ValueError("a child's name is 1 to 100 letters, digits, spaces, dots, _ and -")
        if not 0 < weight < float("inf"):
            raise ValueError("a child's weight is above 0")
        if self._memory.depth >= DEEPEST:
            raise ValueError(f"a child would be more than {DEEPEST} generations below its first ancestor")
        text = orjson.dumps(payload)
        strictjson.check_depth(text.decode())
        payload = orjson.loads(text)
        slot = name or f"#{len(self._asked)}"
        if slot in self._asked:
            raise ValueError(f"two children want to be {slot!r}")
        self._asked.add(slot)
        key = f"{slot}:{_digest(kind, payload)}"
        if key not in self._known:
            self._wish(slot, Wish(key, kind, payload, weight))
        return Child(key, name or kind)

    def known(self, child: Child) -> Known | None:
        """What is known of it; None: it is still to be made."""
        return self._known.get(child.key)

    def _wish(self, slot: str, wish: Wish) -> None:
        if self._memory.resumed and slot in self._slots:
            raise ValueError(f"the child {slot!r} was asked for with another kind or payload before the wait")
        if len(self._known) + len(self._wishes) >= MOST_CHILDREN:
            raise ValueError(f"a job has at most {MOST_CHILDREN} children")
        self._wishes[wish.key] = wish


def label_of(key: str, kind: str) -> str:
    """The label of the child with that key."""
    slot = _slot(key)
    return kind if slot.startswith("#") else slot


def _slot(key: str) -> str:
    return key.partition(":")[0]


def _digest(kind: str, payload: dict[str, Any]) -> str:
    text = orjson.dumps([kind, payload], option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(text).hexdigest()[:_DIGEST_CHARACTERS]
