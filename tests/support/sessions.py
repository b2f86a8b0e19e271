"""A hub with sessions whose wires write down what they are asked for, for tests of who is told what and ended."""

import asyncio

from tidings.broker.base import Limits
from tidings.broker.memory import MemoryBroker
from tidings.domain.channel import Channel
from tidings.domain.errors import CloseReason
from tidings.domain.event import Published
from tidings.domain.people import Principal
from tidings.hub.hub import Hub
from tidings.hub.outbox import Outbox
from tidings.hub.session import Session
from tidings.identity.policy import channels


class Wire:
    """Leaves the hub when it is closed, as wires do."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.session: Session | None = None
        self.closed: list[CloseReason] = []
        self.gone = asyncio.Event()

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)
        self.gone.set()
        if self.session is not None:
            self._hub.leave(self.session)

    def finished(self, channel: Channel) -> None: ...

    def tell(self, event: str, data: bytes) -> None: ...


class _Nothing:
    def encode(self, published: Published, cursor: str) -> bytes:
        return b""


_FORMAT = _Nothing()


class Sessions:
    """``hub`` stands on the broker of one process."""

    def __init__(self) -> None:
        broker = MemoryBroker(Limits())
        self.broker = broker
        self.hub = Hub(broker.subscribe, broker.unsubscribe, broker.position)

    async def join(self, principal: Principal) -> tuple[Session, Wire]:
        """Another session of that user."""
        wire = Wire(self.hub)
        session = wire.session = Session("pid", principal, wire, Outbox(1024), _FORMAT)
        await self.hub.join(session, channels(principal))
        return session, wire
