"""``/admin``: tenants, users, tokens, the security log, and the nodes (contract, sections 6 and 11).

The verbs are ``delivery.administer``'s. Who may not use one is told so before the body is looked at; an ADMIN
who reaches for another tenant is told that there is nothing, and written down.
"""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import TypeVar

from starlette.requests import Request
from starlette.responses import Response

from tidings.api.admin_catalogue import (
    DEACTIVATE_USER,
    DISCONNECT_USER,
    DRAIN_NODE,
    LIST_NODES,
    LIST_SECURITY_EVENTS,
    PUT_TENANT,
    PUT_USER,
    READ_METRICS,
    REVOKE_TOKENS,
)
from tidings.api.admin_forms import ListSecurityEvents, PutTenant, PutUser, RevokeTokens
from tidings.api.admin_metrics import summary
from tidings.api.answer import Json, listing
from tidings.api.body import read_form, read_nothing, read_query
from tidings.api.operation import Served
from tidings.api.principal import admit
from tidings.api.services import Services
from tidings.delivery.administer import OutOfSight
from tidings.domain.audit import SecurityEventType
from tidings.domain.clock import milliseconds
from tidings.domain.errors import ErrorCode, TidingsError
from tidings.domain.people import Principal, TenantId, User, UserId
from tidings.identity.policy import Action, permit

T = TypeVar("T")


class Admin:
    """The endpoints."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._admin = services.admin

    def served(self) -> tuple[Served, ...]:
        return (
            (PUT_TENANT, self.put_tenant),
            (PUT_USER, self.put_user),
            (DEACTIVATE_USER, self.deactivate),
            (DISCONNECT_USER, self.disconnect),
            (REVOKE_TOKENS, self.revoke),
            (LIST_SECURITY_EVENTS, self.security_events),
            (READ_METRICS, self.metrics),
            (LIST_NODES, self.nodes),
            (DRAIN_NODE, self.drain),
        )

    async def put_tenant(self, request: Request) -> Response:
        principal = await self._admit(request, Action.MANAGE_TENANT)
        form, _ = await read_form(self._services, request, PutTenant)
        tenant, made = await self._admin.verbs.put_tenant(
            principal, request.path_params["idOrSlug"], form.name, form.status
        )
        return Json(tenant.to_json(), 201 if made else 200)

    async def put_user(self, request: Request) -> Response:
        principal = await self._admit(request, Action.MANAGE_USER)
        form, _ = await read_form(self._services, request, PutUser)
        wanted = User(
            id=UserId(request.path_params["id"]),
            tenant_id=TenantId(form.tenant_id),
            email=form.email,
            name=form.name,
            role=form.role,
            active=form.active,
            created_at=milliseconds(datetime.now(UTC)),
        )
        user, made = await self._watched(request, principal, self._admin.verbs.put_user(principal, wanted))
        return Json(user.to_json(), 201 if made else 200)

    async def deactivate(self, request: Request) -> Response:
        principal = await self._admit(request, Action.MANAGE_USER)
        await read_nothing(self._services, request)
        verb = self._admin.verbs.deactivate(principal, UserId(request.path_params["id"]))
        return Json((await self._watched(request, principal, verb)).to_json())

    async def disconnect(self, request: Request) -> Response:
        principal = await self._admit(request, Action.MANAGE_USER)
        await read_nothing(self._services, request)
        verb = self._admin.verbs.disconnect(principal, UserId(request.path_params["id"]))
        await self._watched(request, principal, verb)
        return Response(status_code=204)

    async def revoke(self, request: Request) -> Response:
        principal = await self._admit(request, Action.REVOKE_TOKENS)
        form, _ = await read_form(self._services, request, RevokeTokens)
        if form.jti is not None:
            await self._admin.verbs.revoke_token(principal, form.jti)
        else:
            verb = self._admin.verbs.revoke_tokens_of(
                principal, UserId(form.user_id or ""), form.issued_before
            )
            await self._watched(request, principal, verb)
        what = "a token" if form.jti is not None else f"tokens of {form.user_id}"
        self._write(SecurityEventType.TOKEN_REVOKED, request, principal, f"{what}, by an administrator")
        return Response(status_code=204)

    async def security_events(self, request: Request) -> Response:
        principal = await self._admit(request, Action.READ_SECURITY_EVENTS)
        form = read_query(request, ListSecurityEvents)
        found = await self._admin.verbs.security_events(
            principal, form.filter(), form.tenant(), cursor=form.cursor, limit=form.limit
        )
        return listing(found)

    async def metrics(self, request: Request) -> Response:
        await self._admit(request, Action.READ_METRICS)
        # Those of other processes are waited for.
        families = await asyncio.to_thread(lambda: tuple(self._services.metrics.collect()))
        return Json({"node": self._admin.vitals().to_json(), **summary(families)})

    async def nodes(self, request: Request) -> Response:
        await self._admit(request, Action.READ_NODES)
        return Json({"items": await self._admin.nodes(), "nextCursor": None})

    async def drain(self, request: Request) -> Response:
        principal = await self._admit(request, Action.MANAGE_NODE)
        await read_nothing(self._services, request)
        node_id = request.path_params["id"]
        node = await self._admin.node(node_id)
        if node is None:
            raise TidingsError(ErrorCode.NOT_FOUND)
        await self._admin.verbs.drain_node(principal, node_id)
        return Json(node, 202)

    async def _admit(self, request: Request, action: Action) -> Principal:
        """The request's user, whose role lets them do such things at all; raises FORBIDDEN otherwise."""
        principal = await admit(self._services, request)
        permit(principal, action)
        return principal

    async def _watched(self, request: Request, principal: Principal, verb: Awaitable[T]) -> T:
        """What the verb returns. That it reached beyond the own tenant is written down."""
        try:
            return await verb
        except OutOfSight:
            event = SecurityEventType.UNAUTHORIZED_ACCESS_ATTEMPT
            route = request.scope["route"].path
            self._write(event, request, principal, f"{request.method} {route}, another tenant's")
            raise

    def _write(self, event: SecurityEventType, request: Request, principal: Principal, reason: str) -> None:
        state = request.scope["state"]
        self._services.audit.write(
            event, peer=state["peer"], principal=principal, request_id=state["request_id"], reason=reason
        )
