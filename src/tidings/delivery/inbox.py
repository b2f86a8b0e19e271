"""A user's inbox: reading it, marking it, and telling all of the user's connections what was marked."""

from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from tidings.delivery.forms import CreateNotification, ListNotifications
from tidings.delivery.notify import create, unread_event
from tidings.delivery.relay import Relay
from tidings.domain import strictjson
from tidings.domain.channel import Channel, user_channel
from tidings.domain.clock import milliseconds, rfc3339
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.event import Event, EventClass
from tidings.domain.ids import is_id
from tidings.domain.notification import Notification, Unread
from tidings.domain.people import Principal, TenantId, UserId
from tidings.identity.batch import Batcher
from tidings.store import notifications, outbox, receipts
from tidings.store.database import Database
from tidings.store.paging import Page

READ = "notification:read"
_Reader = tuple[TenantId, UserId]


class Inbox:
    """The verbs of an inbox, each one transaction. Every one acts on the principal's own inbox alone."""

    def __init__(self, database: Database, relay: Relay) -> None:
        self._database = database
        self._relay = relay
        self._unread: Batcher[_Reader, Unread] = Batcher(self._count, linger=0.01)

    async def close(self) -> None:
        await self._unread.close()

    async def notify(self, principal: Principal, form: CreateNotification) -> Notification:
        """Create a notification and publish it.

        Raises:
            TidingsError: as ``notify.create`` does; UNAVAILABLE.
        """
        async with self._database.strokes() as tx:
            notification = await create(tx, principal, form)
        self._relay.kick()
        return notification

    async def unread(self, principal: Principal) -> Unread:
        """The unread count. Askers who come at the same time share a query."""
        found = await self._unread.get((principal.tenant_id, principal.user_id))
        return found or Unread(0, 0)

    async def page(self, principal: Principal, form: ListNotifications) -> Page[Notification]:
        """A page, the newest first."""
        async with self._database.read() as tx:
            return await notifications.inbox(
                tx,
                principal.tenant_id,
                principal.user_id,
                cursor=form.cursor,
                limit=form.limit,
                unread=form.unread,
            )

    async def mark_read(self, principal: Principal, ids: Collection[str]) -> tuple[int, Unread]:
        """Mark as read; how many were not before, and what is unread now.

        Ids that the user cannot see, or that are none, change nothing.
        """
        at = milliseconds(datetime.now(UTC))
        async with self._database.write() as tx:
            wanted = [notification_id for notification_id in ids if is_id(notification_id)]
            changed = await receipts.mark_read(tx, principal.tenant_id, principal.user_id, wanted, at)
            what = {"ids": list(changed), "readAt": rfc3339(at)}
            left = await self._tell(tx, principal, what if changed else None, at)
        self._relay.kick()
        return len(changed), left

    async def mark_all_read(self, principal: Principal) -> tuple[int, Unread]:
        """Mark everything as read; how many were not before, and what is unread now."""
        at = milliseconds(datetime.now(UTC))
        async with self._database.write() as tx:
            changed = await receipts.mark_all_read(tx, principal.tenant_id, principal.user_id, at)
            what = {"all": True, "readAt": rfc3339(at)}
            left = await self._tell(tx, principal, what if changed else None, at)
        self._relay.kick()
        return changed, left

    async def read(self, principal: Principal, notification_id: str) -> Notification:
        """Mark one as read and return it.

        Raises:
            TidingsError: NOT_FOUND.
        """
        await self.get(principal, notification_id)
        await self.mark_read(principal, [notification_id])
        return await self.get(principal, notification_id)

    async def mark_unread(self, principal: Principal, notification_id: str) -> Notification:
        """Take back that one was read, and return it. Raises NOT_FOUND."""
        await self.get(principal, notification_id)
        at = milliseconds(datetime.now(UTC))
        async with self._database.write() as tx:
            tenant, user = principal.tenant_id, principal.user_id
            changed = await receipts.mark_unread(tx, tenant, user, notification_id)
            await self._tell(
                tx, principal, {"ids": [notification_id], "readAt": None} if changed else None, at
            )
        self._relay.kick()
        return await self.get(principal, notification_id)

    async def archive(self, principal: Principal, notification_id: str) -> Notification:
        """Take one out of the list, and return it. Raises NOT_FOUND."""
        await self.get(principal, notification_id)
        at = milliseconds(datetime.now(UTC))
        async with self._database.write() as tx:
            tenant, user = principal.tenant_id, principal.user_id
            if await receipts.archive(tx, tenant, user, notification_id, at):
                channel, count = await unread_event(tx, user_channel(tenant, user), tenant, user)
                await outbox.append(tx, [(channel, count)], at)
        self._relay.kick()
        return await self.get(principal, notification_id)

    async def get(self, principal: Principal, notification_id: str) -> Notification:
        """One of the user's own. Raises NOT_FOUND."""
        if is_id(notification_id):
            async with self._database.read() as tx:
                found = await notifications.get(tx, principal.tenant_id, principal.user_id, notification_id)
            if found is not None:
                return found
        raise TidingsError(ErrorCode.NOT_FOUND)

    async def _tell(
        self, tx: AsyncConnection, principal: Principal, what: dict[str, Any] | None, at: datetime
    ) -> Unread:
        channel: Channel = user_channel(principal.tenant_id, principal.user_id)
        counted = await notifications.unread(tx, [(principal.tenant_id, principal.user_id)])
        left = counted.get(principal.user_id, Unread(0, 0))
        if what is not None:
            read = Event(READ, strictjson.dumps(what), EventClass.INBOX)
            count = Event("notification:unread", strictjson.dumps(left.to_json()), EventClass.INBOX)
            await outbox.append(tx, [(channel, read), (channel, count)], at)
        return left

    async def _count(self, readers: Collection[_Reader]) -> dict[_Reader, Unread]:
        async with self._database.read() as tx:
            counted = await notifications.unread(tx, readers)
        return {(tenant, user): counted[user] for tenant, user in readers if user in counted}
