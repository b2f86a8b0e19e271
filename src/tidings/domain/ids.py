"""Ids: UUIDv7 strings (RFC 9562, section 5.7), which sort by the time they were made."""

import re

from uuid_utils import uuid7

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh id, later than every one this process made before."""
    return str(uuid7())


def is_id(text: str) -> bool:
    """Whether this could be one of ours. Anything else is answered as what does not exist."""
    return _UUID.fullmatch(text) is not None
