"""Contract, sections 2, 6 and 11: what an administrator orders at one node holds on every other within a second,
with Redis between them or without.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import jwt
import pytest

from tests.support.pair import Pair, pair
from tests.support.server import SECRET, Person, Server, eventually
from tests.support.sockets import Closed, Socket, opened, ready
from tests.support.streams import Stream, streaming
from tidings.domain.people import Role

SECOND = 1.0
INBOX = "/notifications/events"


class Round:
    """What is ordered ``here`` has to hold ``there``, also when Redis is ``away`` from then on."""

    def __init__(self, nodes: Pair, *, away: bool) -> None:
        self.here, self.there, self.away = nodes.here, nodes.there, away
        self._redis = nodes.redis

    async def order(self, root: Person, method: str, path: str, body: object = None) -> None:
        """Ask for it as an administrator. Returns when it is committed."""
        if self.away:
            self._redis.child.send(signal.SIGSTOP)
        async with self.here.http(root) as client:
            answer = await client.request(method, path, json=body)
        assert answer.is_success, answer.text

    async def change(self, root: Person, person: Person, role: Role, *, active: bool = True) -> None:
        body = {
            "email": f"{person.id}@acme.example",
            "tenantId": person.tenant_id,
            "role": role,
            "active": active,
        }
        await self.order(root, "PUT", f"/admin/users/{person.id}", body)

    async def status_there(self, person: Person) -> int:
        async with self.there.http(person) as client:
            return (await client.get("/notifications")).status_code

    @asynccontextmanager
    async def visited(self, person: Person) -> AsyncIterator[tuple[Socket, Stream]]:
        """A socket and a stream of somebody who is there."""
        async with ready(self.there, person) as socket, streaming(self.there, INBOX, person) as stream:
            await stream.message()
            yield socket, stream


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    with pair(tmp_path_factory.mktemp("nodes")) as running:
        yield running


@pytest.fixture(params=[False, True], ids=["redis", "no redis"])
def nodes(together: Pair, request: pytest.FixtureRequest) -> Iterator[Round]:
    """Two nodes; in the second round Redis stands still from the first order on."""
    yield Round(together, away=request.param)
    together.redis.child.send(signal.SIGCONT)
    together.wait_until_ready()


async def ended(socket: Socket, stream: Stream) -> None:
    """Wait until the server has ended both, which takes a second at most."""
    async with asyncio.timeout(SECOND):
        await asyncio.gather(socket.closing(), stream.rest())


async def found(server: Server, root: Person, pid: int) -> str:
    """The name of the node that is that process, once the server knows of it."""
    async with server.http(root) as client:
        listed = (await client.get("/admin/nodes")).json()["items"]
    (name,) = [node["id"] for node in listed if node["pid"] == pid]
    return str(name)


async def let_in(server: Server, person: Person) -> bool:
    async with opened(server) as socket:
        try:
            await socket.connect({"token": person.token})
            await socket.event("notification:ready")
        except Closed:
            return False
    return True


async def test_disconnect(nodes: Round) -> None:
    """ "``disconnect`` ends sockets and streams", of that user alone; the user may come back."""
    root, user, other = await nodes.here.people(Role.SUPER_ADMIN, Role.USER, Role.USER)
    async with nodes.visited(user) as visit, ready(nodes.there, other) as left_alone:
        await nodes.order(root, "POST", f"/admin/users/{user.id}/disconnect")
        await ended(*visit)
        assert (await left_alone.ask("notification:list", {}))["items"] == []
    assert await nodes.status_there(user) == 200
    if not nodes.away:
        assert await let_in(nodes.there, user)


async def test_deactivation(nodes: Round) -> None:
    """ "Deactivation end live connections on every node: within 1 s"; then the user is nobody, on REST too."""
    root, user = await nodes.here.people(Role.SUPER_ADMIN, Role.USER)
    async with nodes.visited(user) as visit:
        assert await nodes.status_there(user) == 200
        await nodes.order(root, "POST", f"/admin/users/{user.id}/deactivate")
        await ended(*visit)
    assert await nodes.status_there(user) == 401
    assert not await let_in(nodes.there, user)


async def test_suspension(nodes: Round) -> None:
    """ "Tenant suspension"; "a suspended tenant's users are 401"; and when it is active again they are let in."""
    root = await nodes.here.person(Role.SUPER_ADMIN)
    user, colleague = await nodes.here.people(Role.USER, Role.ADMIN)
    path = f"/admin/tenants/{user.tenant_id}"
    async with nodes.visited(user) as visit, nodes.visited(colleague) as other_visit:
        await nodes.order(root, "PUT", path, {"name": "Acme", "status": "suspended"})
        await asyncio.gather(ended(*visit), ended(*other_visit))
    assert await nodes.status_there(user) == await nodes.status_there(colleague) == 401
    await nodes.order(root, "PUT", path, {"name": "Acme", "status": "active"})
    # No clause says how soon; that it ends within a second does.
    async with asyncio.timeout(10 * SECOND):
        while await nodes.status_there(user) == 401:  # noqa: ASYNC110  it is another process that makes it so
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("by", ["jti", "user"])
async def test_revocation(nodes: Round, by: str) -> None:
    """ "Within 1 s of the revocation"; it is written down for each connection that ends by it."""
    root, user = await nodes.here.people(Role.SUPER_ADMIN, Role.USER)
    claims = jwt.decode(user.token, SECRET, ["HS256"])
    async with nodes.visited(user) as visit:
        body = {"jti": claims["jti"]} if by == "jti" else {"userId": user.id}
        await nodes.order(root, "POST", "/admin/tokens/revoke", body)
        await ended(*visit)
    assert await nodes.status_there(user) == 401
    await nodes.there.audited("TOKEN_REVOKED", userId=user.id, reason="access was revoked")


async def test_change_of_role(nodes: Round) -> None:
    """ "A change of role re-derives the rooms of live connections within 1 s; they live on": up and down."""
    root, user = await nodes.here.people(Role.SUPER_ADMIN, Role.USER)
    own, both = f"user:{user.id}", f"user:{user.id} tenant:{user.tenant_id}"
    to_all = {"title": "t", "content": "c", "audience": "tenant"}

    def joined(rooms: str, times: int) -> bool:
        return len(nodes.there.security("ROOM_JOIN", userId=user.id, reason=rooms)) == times

    async with nodes.visited(user) as (socket, _):
        assert (await socket.ask("notification:create", to_all))["error"]["code"] == "FORBIDDEN"
        await nodes.change(root, user, Role.ADMIN)
        await eventually(partial(joined, both, 1), SECOND)
        assert (await socket.ask("notification:create", to_all))["audience"] == "tenant"
        await nodes.change(root, user, Role.USER)
        await eventually(partial(joined, own, 2), SECOND)
        assert (await socket.ask("notification:create", to_all))["error"]["code"] == "FORBIDDEN"


@pytest.mark.parametrize("away", [False, True], ids=["redis", "no redis"])
async def test_drain(tmp_path: Path, *, away: bool) -> None:
    """A node that is ordered to drains, and exits with 0; the others serve on."""
    with pair(tmp_path) as nodes:
        around = Round(nodes, away=away)
        root, user = await nodes.here.people(Role.SUPER_ADMIN, Role.USER)
        async with ready(nodes.here, user) as staying, ready(nodes.there, user) as leaving:
            node = await found(nodes.here, root, nodes.there.child.pid)
            try:
                await around.order(root, "POST", f"/admin/nodes/{node}/drain")
                async with asyncio.timeout(SECOND):
                    await leaving.event("system:draining")
                await leaving.closing()
                assert await asyncio.to_thread(nodes.there.child.wait) == 0
            finally:
                nodes.redis.child.send(signal.SIGCONT)
            assert nodes.here.get("/healthz").status_code == 200
            assert (await staying.ask("notification:list", {}))["items"] == []
