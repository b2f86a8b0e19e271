"""From settings to who-is-it: the keys, directory, limits and ways in of one process.

A page of the composition root: like ``app`` it may import everything, and only ``app`` and ``cli`` import it.
"""

from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Mapping
from functools import partial
from typing import Any

from tidings.delivery.admit import Admission
from tidings.delivery.audit import SecurityLog
from tidings.delivery.authenticate import Authenticator
from tidings.delivery.provision import provision
from tidings.delivery.revocations import Revocations
from tidings.delivery.tickets import StoredTickets
from tidings.domain.people import Tenant, User, UserId
from tidings.identity.credentials import COOKIE_PLAIN, COOKIE_SECURE
from tidings.identity.directory import Directory
from tidings.identity.jwks import JwksKeySource
from tidings.identity.keys import KeySource, PemKeySource, SecretKeySource
from tidings.identity.origins import Origins
from tidings.identity.peer import Peers
from tidings.identity.tokens import TokenVerifier
from tidings.settings import Algorithm, Settings, jwt_secret
from tidings.settings import Identity as IdentityMode
from tidings.sharing import Sharing
from tidings.store import users
from tidings.store.database import Database

_PACE = 2000.0
"""Requests a second that one user makes to all other nodes at most, as far as can be believed."""


class Reception:
    """Who is it: keys, directory, origins, limits, and the ways in that are built on them."""

    def __init__(
        self, settings: Settings, database: Database, security: SecurityLog, shared: Sharing
    ) -> None:
        self._keys = key_source(settings)
        self.revocations = Revocations(database)
        self.origins = Origins(settings.origins)
        self.peers = Peers(settings.trusted_proxies)
        self.addresses, self.users, self.streams = shared.addresses, shared.users, shared.streams
        claimed = settings.identity is IdentityMode.CLAIMS
        self.directory = Directory(
            _users_of(database), provision=partial(provision, database) if claimed else None
        )
        self.authenticator = Authenticator(
            TokenVerifier(
                self._keys,
                algorithm=settings.jwt_algorithm,
                revoked=self.revocations.revoked,
                issuer=settings.jwt_issuer,
                audience=settings.jwt_audience,
                typ=settings.jwt_type,
            ),
            self.directory,
            security,
        )
        self.tickets = StoredTickets(database, settings.own_origins)
        self.cookie_name = COOKIE_SECURE if settings.public_https else COOKIE_PLAIN
        self.admission = Admission(
            self.authenticator, self.origins, self.tickets, cookie_name=self.cookie_name
        )
        self.socket_limiter = shared.limiter(settings.rate_limit_points, settings.rate_limit_seconds)
        self.rest_limiter = shared.limiter(settings.rest_rate_per_minute, 60.0, pace=_PACE)
        self.report_limiter = shared.limiter(settings.report_rate_per_minute, 60.0)
        self.console_limiter = shared.limiter(settings.console_rate_per_minute, 60.0)

    def loops(self) -> Iterator[Callable[[], Coroutine[Any, Any, None]]]:
        """What has to run for as long as the process serves."""
        yield self.tickets.run
        if isinstance(self._keys, JwksKeySource):
            yield self._keys.run


def key_source(settings: Settings) -> KeySource:
    """The keys that tokens are verified with."""
    if settings.jwt_algorithm is Algorithm.HS256:
        return SecretKeySource(jwt_secret(settings))
    if settings.jwks_url:
        from tidings.identity.jwks_http import HttpFetch

        return JwksKeySource(HttpFetch(settings.jwks_url), settings.jwt_algorithm)
    return PemKeySource(settings.jwt_public_key, settings.jwt_algorithm)


def _users_of(
    database: Database,
) -> Callable[[Collection[UserId]], Awaitable[Mapping[UserId, tuple[User, Tenant]]]]:
    async def load(ids: Collection[UserId]) -> Mapping[UserId, tuple[User, Tenant]]:
        async with database.read() as tx:
            return await users.by_ids(tx, ids)

    return load
