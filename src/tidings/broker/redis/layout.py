"""How things are written in Redis: names of keys and channels, and an event as bytes.

A message is a fixed header that the script writes, then what the node that publishes wrote::

    epoch 16 · number 8 · prev 8 · microseconds 8 | class 1 · length of name 1 · of key 2 · name · key · data

The same bytes are published and kept in the history, and nothing in between reads the second part. Of a whisper the
publishing node writes the header too, without an epoch and with the number 0, which no event has. All keys
and channels of a tenant share its hash tag, and so one slot of a cluster. The number in the prefix is that of
this layout: whoever changes it raises it, and no node reads what another version wrote.

It sends nothing and keeps nothing.
"""

import struct
from binascii import crc_hqx
from collections.abc import Iterator, Sequence

from tidings.domain.channel import Channel
from tidings.domain.event import Event, EventClass, Published
from tidings.domain.people import TenantId
from tidings.domain.position import NOWHERE, Position

SLOTS = 16_384
LOT_EVENTS = 100
LOT_BYTES = 512 * 1024
"""What one call of the script publishes at most, so that Redis serves others in between."""

_HEADER = struct.Struct(">16sQQQBBH")
_PLACE = struct.Struct(">16sQQQ")
_BODY = struct.Struct(">BBH")
_CLASSES = (EventClass.PROGRESS, EventClass.STATE, EventClass.FINAL, EventClass.INBOX)
_CODES = {klass: code for code, klass in enumerate(_CLASSES)}

Entry = tuple[Channel, Event]


def tenant_key(database: int, tenant: TenantId) -> str:
    """The tenant's own key, which all its other names begin with.

    Publishing knows no databases, so the number of ours is part of every name.
    """
    return f"tidings:1:{database}:{{{tenant}}}"


def channel_name(database: int, channel: Channel) -> bytes:
    """What a channel is subscribed to by."""
    return f"{tenant_key(database, channel.tenant)}/{short(channel)}".encode()


def short(channel: Channel) -> str:
    """A channel's name among its tenant's."""
    return channel.key[len(channel.tenant) + 1 :]


def slot(tag: str) -> int:
    """The slot of a cluster that a hash tag, which is a tenant, is put into."""
    return crc_hqx(tag.encode(), 0) % SLOTS


def slot_of_key(key: str) -> int:
    """The slot of a whole key, whoever named it.

    That is the slot of its hash tag, from the first ``{`` to the next ``}``, if there is one and it is not empty
    (Redis Cluster specification, "Hash tags").
    """
    tag, closed, _ = key.partition("{")[2].partition("}")
    return slot(tag if tag and closed else key)


def pack(event: Event) -> bytes:
    """The part of a message that the publishing node writes.

    Raises:
        ValueError: the name is longer than 255 bytes, or the key than 65,535.
    """
    name, key = event.name.encode(), event.key.encode()
    try:
        return _BODY.pack(_CODES[event.klass], len(name), len(key)) + name + key + event.data
    except struct.error as fault:
        raise ValueError("the name or the key of the event is too long") from fault


def whispered(event: Event, now: float) -> bytes:
    """A whole message that has no place in any history; ``now`` in Unix seconds.

    Raises:
        ValueError: as ``pack``.
    """
    return _PLACE.pack(b"", 0, 0, round(now * 1e6)) + pack(event)


def unpack(channel: Channel, message: bytes) -> Published:
    """Read a whole message.

    Raises:
        ValueError: it is not one of this layout.
    """
    try:
        epoch, offset, prev, microseconds, code, name_length, key_length = _HEADER.unpack_from(message)
        klass = _CLASSES[code]
    except (struct.error, IndexError) as fault:
        raise ValueError("not a message of this layout") from fault
    key_at = _HEADER.size + name_length
    data_at = key_at + key_length
    event = Event(
        message[_HEADER.size : key_at].decode(), message[data_at:], klass, message[key_at:data_at].decode()
    )
    position = Position(epoch.decode(), offset) if offset else NOWHERE
    return Published(channel, position, prev, event, microseconds / 1e6)


def lots(entries: Sequence[tuple[int, Entry]]) -> Iterator[list[tuple[int, Entry]]]:
    """One tenant's events cut to what a call of the script may be given, in their order."""
    lot: list[tuple[int, Entry]] = []
    size = 0
    for entry in entries:
        length = len(entry[1][1].data)
        if lot and (len(lot) == LOT_EVENTS or size + length > LOT_BYTES):
            yield lot
            lot, size = [], 0
        lot.append(entry)
        size += length
    if lot:
        yield lot
