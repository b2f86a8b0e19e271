"""Releasing clients: each is told when to come back, and let go of within the window."""

import asyncio
import json
import time

from tests.support.broker_rig import ANN
from tidings.delivery.drain import RECONNECT_SECONDS, release
from tidings.domain.channel import Channel
from tidings.domain.errors import CloseReason
from tidings.domain.event import Published
from tidings.domain.people import Principal, Role, UserId
from tidings.hub.outbox import Outbox
from tidings.hub.session import Session


class Lines:
    """A format that nothing is written in here."""

    def encode(self, published: Published, cursor: str) -> bytes:
        return b""


class Guest:
    """A wire that writes down what becomes of it."""

    def __init__(self) -> None:
        who = Principal(UserId("ann"), ANN.tenant, Role.USER, "a@acme.example", None, time.time() + 60)
        self.session = Session("sid", who, self, Outbox(1024), Lines())
        self.told: list[tuple[str, float]] = []
        self.closed: CloseReason | None = None

    def close(self, reason: CloseReason) -> None:
        self.closed = reason

    def finished(self, channel: Channel) -> None: ...

    def tell(self, event: str, data: bytes) -> None:
        assert self.closed is None
        self.told.append((event, json.loads(data)["reconnectAfterMs"]))


async def test_the_return_is_spread_however_short_the_window() -> None:
    """ "``reconnectAfterMs`` is spread over 10 s": also by a node that has no time to release anybody slowly."""
    guests = [Guest() for _ in range(200)]
    await release([guest.session for guest in guests], 0.0, asyncio.Event())
    assert {guest.closed for guest in guests} == {CloseReason.DRAINING}
    assert all(len(guest.told) == 1 for guest in guests)
    events, times = zip(*[guest.told[0] for guest in guests], strict=True)
    assert set(events) == {"system:draining"}
    assert 0 <= min(times) < 1000
    assert RECONNECT_SECONDS * 900 < max(times) <= RECONNECT_SECONDS * 1000


async def test_who_comes_back_early_leaves_early() -> None:
    """All are told before the first is let go; then they go one after another, over the window."""
    guests = [Guest() for _ in range(20)]
    left: list[float] = []
    for guest in guests:
        guest.close = lambda reason, guest=guest: left.append(guest.told[0][1])  # type: ignore[method-assign, misc]  # noted
    begun = time.monotonic()
    await release([guest.session for guest in guests], 0.2, asyncio.Event())
    assert left == sorted(left)
    assert len(left) == 20
    assert time.monotonic() - begun < 0.4


async def test_hurry() -> None:
    """Whoever is left when it is hurried goes at once."""
    guests = [Guest() for _ in range(20)]
    hurry = asyncio.Event()
    releasing = asyncio.create_task(release([guest.session for guest in guests], 3600.0, hurry))
    await asyncio.sleep(0)
    assert any(guest.closed is None for guest in guests)
    hurry.set()
    await releasing
    assert all(guest.closed is CloseReason.DRAINING for guest in guests)
