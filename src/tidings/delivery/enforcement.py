"""What orders do at this process: who has to go goes, and who stays is from now on what the database says.

A session that is being let in at that moment is not found here. It asks once more when it has joined
(``Authenticator.confirm``), and the directory has forgotten by then what was known before.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from tidings.delivery.audit import SecurityLog
from tidings.delivery.revocations import Revocations
from tidings.domain.audit import SecurityEventType
from tidings.domain.errors import CloseReason
from tidings.domain.order import Order, OrderKind
from tidings.domain.people import UserId
from tidings.hub.hub import Hub
from tidings.hub.session import Session
from tidings.identity.directory import Account, Directory, standing
from tidings.identity.policy import rooms
from tidings.identity.rejection import UserRejected
from tidings.store import users
from tidings.store.database import Database

_AT_ONCE = 200
"""Sessions that are closed, or users that are looked up, before anybody else has a turn."""

T = TypeVar("T")


class Enforcement:
    """``drain`` is called when this node, ``node_id``, is to release its clients and end."""

    def __init__(
        self,
        node_id: str,
        database: Database,
        hub: Hub,
        directory: Directory,
        revocations: Revocations,
        audit: SecurityLog,
        drain: Callable[[], None],
    ) -> None:
        self._node_id = node_id
        self._database = database
        self._hub = hub
        self._directory = directory
        self._revocations = revocations
        self._audit = audit
        self._drain = drain

    async def carry_out(self, given: Sequence[Order]) -> None:
        """Carry these orders out; another time does no harm.

        Raises:
            TidingsError: UNAVAILABLE, and some may not have been carried out.
        """
        for order in given:
            self._forget(order)
        if _is_to_drain(self._node_id, given):
            self._drain()
        kinds = {order.kind for order in given}
        if OrderKind.DISCONNECT in kinds:
            sent_away = {order.user_id for order in given if order.kind is OrderKind.DISCONNECT}
            await _close(self._sessions_of(filter(None, sent_away)), CloseReason.DISCONNECTED)
        if OrderKind.TOKENS in kinds:
            await self.end_revoked()
        await self._look_up(self._concerned(given))

    async def review(self) -> None:
        """Do what any order could have said since the last time. Raises as ``carry_out`` does."""
        self._directory.forget_all()
        await self.end_revoked(whole=True)
        await self._look_up({session.principal.user_id for session in self._hub.sessions()})

    async def end_revoked(self, *, whole: bool = False) -> None:
        """Learn what is revoked, and end what lives by such a token. Raises as ``carry_out`` does."""
        if await self._revocations.load(whole=whole):
            gone = [each for each in self._hub.sessions() if self._revocations.ends(each.principal)]
            await _close(gone, CloseReason.REVOKED)

    def _forget(self, order: Order) -> None:
        if order.kind is OrderKind.PERSON and order.user_id is not None:
            self._directory.forget(order.user_id)
        elif order.kind is OrderKind.TENANT and order.tenant_id is not None:
            self._directory.forget_tenant(order.tenant_id)

    def _concerned(self, given: Sequence[Order]) -> set[UserId]:
        """The users here of whom something may have changed."""
        people = {order.user_id for order in given if order.kind is OrderKind.PERSON}
        tenants = {order.tenant_id for order in given if order.kind is OrderKind.TENANT}
        here = self._hub.sessions() if tenants else self._sessions_of(filter(None, people))
        principals = (session.principal for session in here)
        return {each.user_id for each in principals if each.user_id in people or each.tenant_id in tenants}

    def _sessions_of(self, people: Iterable[UserId]) -> list[Session]:
        return [session for user_id in people for session in self._hub.sessions_of(user_id)]

    async def _look_up(self, people: Collection[UserId]) -> None:
        for batch in _batches(people):
            async with self._database.read() as tx:
                found = await users.by_ids(tx, batch)
            for user_id in batch:
                self._apply(user_id, found.get(user_id))

    def _apply(self, user_id: UserId, account: Account | None) -> None:
        """Make a user's sessions what the user now is, or end them."""
        changed = None
        for session in self._hub.sessions_of(user_id):
            try:
                now = standing(session.principal, account)
            except UserRejected:
                session.wire.close(CloseReason.ACCOUNT_CLOSED)
                continue
            if now.role is not session.principal.role:
                changed = now
            session.principal = now
        if changed is not None:
            self._audit.write(SecurityEventType.ROOM_JOIN, principal=changed, reason=" ".join(rooms(changed)))


class Unattended:
    """What orders do at a process that serves nobody: it is told to ``drain``, and no other concerns it."""

    def __init__(self, node_id: str, drain: Callable[[], None]) -> None:
        self._node_id = node_id
        self._drain = drain

    async def carry_out(self, given: Sequence[Order]) -> None:
        """Carry these orders out; another time does no harm."""
        if _is_to_drain(self._node_id, given):
            self._drain()

    async def review(self) -> None:
        """Nobody is here of whom an order could have said anything."""


def _is_to_drain(node_id: str, given: Iterable[Order]) -> bool:
    return any(order.kind is OrderKind.DRAIN and order.node_id == node_id for order in given)


async def _close(sessions: Collection[Session], reason: CloseReason) -> None:
    for batch in _batches(sessions):
        for session in batch:
            session.wire.close(reason)
        await asyncio.sleep(0)


def _batches(things: Iterable[T]) -> Iterable[list[T]]:
    rest = iter(things)
    while batch := list(islice(rest, _AT_ONCE)):
        yield batch
