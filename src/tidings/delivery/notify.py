"""Telling somebody something: a notification is stored with its events in one transaction, then relayed."""

from datetime import UTC, datetime

from tidings.delivery.forms import CreateNotification
from tidings.domain import strictjson
from tidings.domain.channel import Channel
from tidings.domain.clock import milliseconds
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.event import Event, EventClass
from tidings.domain.ids import new_id
from tidings.domain.notification import Audience, Notification, Unread
from tidings.domain.people import Principal, TenantId, UserId
from tidings.identity.policy import Address, address
from tidings.store import notifications, outbox, tenants, users
from tidings.store.stroke import Statements

NEW = "notification:new"
UNREAD = "notification:unread"


async def create(tx: Statements, principal: Principal, form: CreateNotification) -> Notification:
    """Store a notification and what is to be published of it. After the commit: ``relay.kick()``.

    Of a notification to one user the new unread count is published too. To a tenant or everyone it is not,
    because it is another number for each: clients add one.

    Raises:
        TidingsError: VALIDATION_FAILED, FORBIDDEN, or NOT_FOUND for a user or tenant one cannot see.
    """
    tenant_id = None if form.tenant_id is None else TenantId(form.tenant_id)
    user_id = None if form.user_id is None else UserId(form.user_id)
    target = address(principal, form.audience, user_id, tenant_id)
    notification = Notification(
        id=new_id(),
        tenant_id=await _tenant(tx, principal, target),
        audience=target.audience,
        user_id=target.user_id,
        title=form.title,
        content=form.content,
        priority=form.priority,
        data=form.data,
        created_at=milliseconds(datetime.now(UTC)),
        created_by=principal.user_id,
    )
    await notifications.insert(tx, notification)
    events = [(notification.channel, _new(notification))]
    if notification.user_id is not None:
        events.append(
            await unread_event(tx, notification.channel, notification.tenant_id, notification.user_id)
        )
    await outbox.append(tx, events, notification.created_at)
    return notification


async def unread_event(
    tx: Statements, channel: Channel, tenant: TenantId, user: UserId
) -> tuple[Channel, Event]:
    """The user's unread count as it stands in this transaction."""
    count = await unread(tx, tenant, user)
    return channel, Event(UNREAD, strictjson.dumps(count.to_json()), EventClass.INBOX)


async def unread(tx: Statements, tenant: TenantId, user: UserId) -> Unread:
    counted = await notifications.unread(tx, [(tenant, user)])
    return counted.get(user, Unread(0, 0))


def _new(notification: Notification) -> Event:
    data = strictjson.dumps({"notification": notification.to_json()})
    return Event(NEW, data, EventClass.INBOX, key=notification.id)


async def _tenant(tx: Statements, principal: Principal, target: Address) -> TenantId:
    """The tenant that the notification is stored under: the reader's, or for everyone the sender's."""
    if target.audience is Audience.GLOBAL:
        return principal.tenant_id
    if target.audience is Audience.TENANT:
        return await _existing_tenant(tx, principal, target)
    if target.user_id == principal.user_id and target.tenant_id in (None, principal.tenant_id):
        return principal.tenant_id
    if target.user_id is None:
        raise TidingsError(ErrorCode.NOT_FOUND)
    found = (await users.by_ids(tx, [target.user_id])).get(target.user_id)
    if found is None or target.tenant_id not in (None, found[0].tenant_id):
        raise TidingsError(ErrorCode.NOT_FOUND)
    return found[0].tenant_id


async def _existing_tenant(tx: Statements, principal: Principal, target: Address) -> TenantId:
    named = target.tenant_id or principal.tenant_id
    if named != principal.tenant_id and await tenants.get(tx, named) is None:
        raise TidingsError(ErrorCode.NOT_FOUND)
    return named
