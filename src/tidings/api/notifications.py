"""``/notifications``: a user's inbox over REST (contract, sections 6 and 11). The verbs are ``delivery``'s."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import Response

from tidings.api import catalogue
from tidings.api.answer import Json, created, id_of, listing
from tidings.api.body import read_form, read_nothing, read_query
from tidings.api.idempotency import create_once
from tidings.api.operation import Served
from tidings.api.principal import admit
from tidings.api.services import Services
from tidings.delivery.forms import CreateNotification, ListNotifications
from tidings.delivery.notify import create
from tidings.delivery.once import Statements
from tidings.domain import strictjson
from tidings.domain.notification import Notification
from tidings.domain.people import Principal

_Verb = Callable[[Principal, str], Awaitable[Notification]]


class Notifications:
    """The endpoints, in the order in which their paths are tried."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def served(self) -> tuple[Served, ...]:
        return (
            (catalogue.CREATE_NOTIFICATION, self.create),
            (catalogue.LIST_NOTIFICATIONS, self.page),
            (catalogue.COUNT_UNREAD, self.unread),
            (catalogue.READ_ALL, self.read_all),
            (catalogue.GET_NOTIFICATION, self.get),
            (catalogue.MARK_READ, self.mark_read),
            (catalogue.MARK_UNREAD, self.mark_unread),
            (catalogue.ARCHIVE, self.archive),
        )

    async def create(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        form, raw = await read_form(self._services, request, CreateNotification)

        async def act(tx: Statements) -> tuple[int, bytes]:
            notification = await create(tx, principal, form)
            return 201, strictjson.dumps(notification.to_json())

        status, body = await create_once(self._services.once, principal, request, raw, act)
        self._services.relay.kick()
        return created(status, body, f"/notifications/{id_of(body)}")

    async def page(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        return listing(await self._services.inbox.page(principal, read_query(request, ListNotifications)))

    async def unread(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        return Json((await self._services.inbox.unread(principal)).to_json())

    async def read_all(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        await read_nothing(self._services, request)
        updated, unread = await self._services.inbox.mark_all_read(principal)
        return Json({"updated": updated, "unread": unread.to_json()})

    async def get(self, request: Request) -> Response:
        principal = await admit(self._services, request)
        notification = await self._services.inbox.get(principal, request.path_params["id"])
        return Json(notification.to_json())

    async def mark_read(self, request: Request) -> Response:
        return await self._mark(request, self._services.inbox.read)

    async def mark_unread(self, request: Request) -> Response:
        return await self._mark(request, self._services.inbox.mark_unread)

    async def archive(self, request: Request) -> Response:
        return await self._mark(request, self._services.inbox.archive)

    async def _mark(self, request: Request, verb: _Verb) -> Response:
        principal = await admit(self._services, request)
        await read_nothing(self._services, request)
        return Json((await verb(principal, request.path_params["id"])).to_json())
