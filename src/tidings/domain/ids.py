"""Ids: UUIDv7 strings (RFC 9562, section 5.7), which sort by the time they were made; and secrets, which say
nothing at all.
"""

import os
import re
from base64 import urlsafe_b64encode

from uuid_utils import uuid7

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh id, later than every one this process made before."""
    return str(uuid7())


def floor_id(moment: float) -> str:
    """What every id that was made at this time, in Unix seconds, or later comes after."""
    first = f"{max(0, int(moment * 1000)):012x}"
    return f"{first[:8]}-{first[8:]}"


def is_id(text: str) -> bool:
    """Whether this could be one of ours. Anything else is answered as what does not exist."""
    return _UUID.fullmatch(text) is not None


_SECRET_BYTES = 15
_SECRET_CHARACTERS = 20
_POOL_SECRETS = 256
_pool: list[str] = []
# What is in the pool at a fork would be given out twice.
os.register_at_fork(after_in_child=_pool.clear)


def new_secret() -> str:
    """120 random bits as 20 URL-safe characters, for what must not be guessed.

    Random bytes are asked of the system for 256 at a time: in a storm of connects that call is the dearest part.
    """
    try:
        return _pool.pop()
    except IndexError:
        text = urlsafe_b64encode(os.urandom(_SECRET_BYTES * _POOL_SECRETS)).decode("ascii")
        fresh = [text[at : at + _SECRET_CHARACTERS] for at in range(0, len(text), _SECRET_CHARACTERS)]
        _pool.extend(fresh[1:])
        return fresh[0]
