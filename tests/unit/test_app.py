"""A whole node in this process: what is ordered while somebody is being let in, or before anybody is."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.server import SECRET, Person, Server
from tests.support.sockets import Closed, opened
from tests.support.streams import streaming
from tidings.app import Node
from tidings.domain.ids import new_id
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import Role, TenantStatus
from tidings.settings import Settings, load
from tidings.store import revocations, tenants, users
from tidings.store.database import Database
from tidings.store.revocations import Revocation

Change = Callable[[Database, Person], Awaitable[Order]]


async def deactivated(database: Database, person: Person) -> Order:
    async with database.write() as tx:
        assert await users.deactivate(tx, person.tenant_id, person.id)
    return Order(OrderKind.PERSON, person.tenant_id, person.id)


async def suspended(database: Database, person: Person) -> Order:
    async with database.write() as tx:
        await tenants.change(tx, person.tenant_id, status=TenantStatus.SUSPENDED)
    return Order(OrderKind.TENANT, person.tenant_id)


async def revoked(database: Database, person: Person) -> Order:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    row = Revocation(new_id(), person.tenant_id, None, person.id, soon, soon + timedelta(days=1))
    async with database.write() as tx:
        await revocations.put(tx, row)
    return Order(OrderKind.TOKENS)


@dataclass
class House:
    """A node that listens. What is put into ``meanwhile`` happens when the next one is let in."""

    node: Node
    server: Server
    meanwhile: list[Callable[[], Awaitable[None]]]

    def when_let_in(self, person: Person, change: Change) -> None:
        """Decide, order, and carry out, after ``person`` was authenticated and before the session has joined."""

        async def act() -> None:
            order = await change(self.node.database, person)
            await self.node.enforcement.carry_out([order])

        self.meanwhile.append(act)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Of a node in a directory of its own, which runs no jobs."""
    monkeypatch.chdir(tmp_path)
    given = {"ENV": "test", "VAR": str(tmp_path), "JWT_SECRET": SECRET, "DRAIN_SECONDS": "0", "PORT": "0"}
    for name, value in given.items():
        monkeypatch.setenv(f"TIDINGS_{name}", value)
    return load(worker=False)


@pytest.fixture
async def house(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    port: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    meanwhile: list[Callable[[], Awaitable[None]]] = []

    async def acquire(key: str, limit: int) -> bool:
        while meanwhile:
            await meanwhile.pop()()
        return True

    async with Node(settings) as node:
        for slots in (node.shared.users, node.shared.streams):
            monkeypatch.setattr(slots, "acquire", acquire)
        serving = asyncio.create_task(node.serve(port.set_result))
        server = Server(None, await port, tmp_path)  # type: ignore[arg-type]  # it is no child, it runs here
        yield House(node, server, meanwhile)
        await node.enforcement.carry_out([Order(OrderKind.DRAIN, node_id=node.node_id)])
        await serving


@pytest.mark.parametrize("change", [deactivated, suspended, revoked])
async def test_a_socket_that_was_being_let_in(house: House, change: Change) -> None:
    """Authenticated before the order and joined after it: it does not slip through."""
    user = await house.server.person()
    house.when_let_in(user, change)
    async with opened(house.server) as socket:
        await socket.connect({"token": user.token})
        assert '"code":"UNAUTHENTICATED"' in await socket.packet(lambda packet: packet.startswith("44"))
        with pytest.raises(Closed):
            await socket.packet()
    assert house.node.hub.sessions() == []


@pytest.mark.parametrize("change", [deactivated, suspended, revoked])
async def test_a_stream_that_was_being_let_in(house: House, change: Change) -> None:
    """Likewise: 401 as if the order had come before."""
    user = await house.server.person()
    house.when_let_in(user, change)
    async with streaming(house.server, "/notifications/events", user) as stream:
        assert stream.response.status_code == 401
    assert house.node.hub.sessions() == []


async def test_who_was_being_let_in_comes_in_as_what_they_are_now(house: House) -> None:
    """A change of role between the two counts from the first moment."""
    user = await house.server.person(Role.ADMIN)

    async def demoted(database: Database, person: Person) -> Order:
        async with database.write() as tx:
            known = await users.get(tx, person.tenant_id, person.id)
            assert known is not None
            await users.change(tx, person.tenant_id, replace(known, role=Role.USER))
        return Order(OrderKind.PERSON, person.tenant_id, person.id)

    house.when_let_in(user, demoted)
    async with opened(house.server) as socket:
        await socket.connect({"token": user.token})
        told = await socket.event("notification:ready")
    assert (told["user"]["role"], told["rooms"]) == ("USER", [f"user:{user.id}"])


async def test_a_drain_that_is_ordered_before_it_serves(settings: Settings) -> None:
    """A node is listed as soon as it begins, so the order may come early; it is not lost."""
    ports: list[int] = []
    async with Node(settings) as node:
        await node.enforcement.carry_out([Order(OrderKind.DRAIN, node_id=node.node_id)])
        async with asyncio.timeout(10):
            await node.serve(ports.append)
        assert node.draining
    assert len(ports) == 1
