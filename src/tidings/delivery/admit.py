"""Letting an HTTP request in: which credential it brings, whether that may be used here, and whom it stands for.

A token in a header is good everywhere. A cookie is good only from an allowed page (contract, sections 2 and
4). A ticket is good for the one stream it was made for. A token in the query string is good for nothing.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl

from tidings import metrics
from tidings.delivery.authenticate import Authenticator, claims_of
from tidings.domain.audit import Peer
from tidings.domain.people import Principal
from tidings.identity import credentials
from tidings.identity.origins import Origins
from tidings.identity.peer import Headers, values
from tidings.identity.rejection import Reason, Rejected
from tidings.identity.tickets import Tickets

_successes = metrics.authentications.labels("success")


@dataclass(frozen=True, slots=True)
class Request:
    """What of an HTTP request can hold a credential. ``query`` is raw, without ``?``."""

    headers: Headers
    query: str
    peer: Peer
    request_id: str


@dataclass(frozen=True, slots=True)
class Admitted:
    """Who may go on. ``ticket`` is set if it was used, and is to be closed when its stream ends."""

    principal: Principal
    ticket: str | None = None


class Admission:
    def __init__(
        self, authenticator: Authenticator, origins: Origins, tickets: Tickets, *, cookie_name: str
    ) -> None:
        self._authenticator = authenticator
        self._origins = origins
        self._tickets = tickets
        self._cookie_name = cookie_name

    async def admit(self, request: Request) -> Principal:
        """Whom a request stands for.

        Raises:
            TidingsError: UNAUTHENTICATED, the same for every fault; UNAVAILABLE.
        """
        return await self._authenticator.authenticate(
            self._token(request), request.peer, request_id=request.request_id
        )

    async def admit_token(self, request: Request, token: str) -> Principal:
        """Whom a token stands for that came in the body; the header has none or the same. Raises as ``admit`` does."""
        peer, request_id = request.peer, request.request_id
        explicit = self._explicit(request)
        try:
            only = credentials.single(explicit, token)
        except Rejected as rejected:
            raise self._authenticator.refuse(rejected.reason, peer, request_id=request_id) from None
        return await self._authenticator.authenticate(only, peer, request_id=request_id)

    async def admit_reporter(self, request: Request, known: Callable[[str], Awaitable[bool]]) -> None:
        """Let a request in whose token ``known`` knows: one that stands for no user. Raises as ``admit`` does.

        A cookie is none of it: who reports is no browser.
        """
        token = self._explicit(request)
        if token is None or not await known(token):
            reason = "missing" if token is None else Reason.UNKNOWN_REPORTER
            raise self._authenticator.refuse(reason, request.peer, request_id=request.request_id)
        _successes.inc()

    async def admit_stream(self, request: Request, path: str) -> Admitted:
        """Likewise, where ``?ticket=`` is accepted too. Raises as ``admit`` does."""
        value = _ticket(request.query)
        if value is None:
            return Admitted(await self.admit(request))
        peer, request_id = request.peer, request.request_id
        if self._token(request) is not None:
            raise self._authenticator.refuse(Reason.CONFLICT, peer, request_id=request_id)
        try:
            ticket = await self._tickets.open(value, path, _origin(request.headers))
        except Rejected as rejected:
            raise self._authenticator.refuse(rejected.reason, peer, request_id=request_id) from None
        try:
            principal = await self._authenticator.recheck(ticket.claims, peer, request_id=request_id)
        except BaseException:
            await self._tickets.close(value)
            raise
        return Admitted(principal, value)

    async def confirm(self, principal: Principal, peer: Peer, request_id: str) -> Principal:
        """As who somebody stands whose stream has just joined (``Authenticator.confirm``)."""
        return await self._authenticator.confirm(principal, peer, request_id=request_id)

    async def issue_ticket(self, principal: Principal, path: str, headers: Headers) -> tuple[str, float]:
        """A ticket for a stream's path, and until when (Unix seconds) it may first be used.

        Raises:
            TidingsError: UNAVAILABLE, too many are out.
        """
        tenant, claims = principal.tenant_id, claims_of(principal)
        return await self._tickets.issue(tenant, claims, path, _origin(headers))

    async def close_ticket(self, admitted: Admitted) -> None:
        if admitted.ticket is not None:
            await self._tickets.close(admitted.ticket)

    def refuse_token_in_query(self, request: Request) -> None:
        """Raises UNAUTHENTICATED for a token where it must not be."""
        if credentials.token_in_query(request.query):
            raise self._authenticator.refuse(
                Reason.TOKEN_IN_QUERY, request.peer, request_id=request.request_id
            )

    def _explicit(self, request: Request) -> str | None:
        """The token in the header, once there is none where it must not be."""
        self.refuse_token_in_query(request)
        peer, request_id = request.peer, request.request_id
        try:
            return credentials.bearer(values(request.headers, b"authorization"))
        except Rejected as rejected:
            raise self._authenticator.refuse(rejected.reason, peer, request_id=request_id) from None

    def _token(self, request: Request) -> str | None:
        peer, request_id = request.peer, request.request_id
        explicit = self._explicit(request)
        try:
            cookie = credentials.cookie(values(request.headers, b"cookie"), self._cookie_name)
            if cookie is not None and not self._cookie_counts(request.headers):
                cookie = None
            return credentials.single(explicit, cookie)
        except Rejected as rejected:
            raise self._authenticator.refuse(rejected.reason, peer, request_id=request_id) from None

    def _cookie_counts(self, headers: Headers) -> bool:
        sites = values(headers, b"sec-fetch-site")
        site = sites[0] if len(sites) == 1 else None
        return self._origins.check(_origin(headers), explicit_token=False, fetch_site=site)


def _origin(headers: Headers) -> str | None:
    origins = values(headers, b"origin")
    return ",".join(origins) if origins else None


def _ticket(query: str) -> str | None:
    found = [value for name, value in parse_qsl(query, keep_blank_values=True) if name == "ticket"]
    return ",".join(found) if found else None
