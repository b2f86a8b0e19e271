"""A token in, its claims out: the rules of the contract, section 2, and nothing looser.

The signature is checked before a single claim is read. What a token says of tenant and role is passed on
as said; whether it counts is for the directory. Nothing here knows a database: revocation is asked of a
function.
"""

import re
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import jwt

from tidings.domain import strictjson
from tidings.domain.people import UserId
from tidings.identity.keys import KeySource, Verify
from tidings.identity.lru import Lru
from tidings.identity.rejection import Reason, TokenRejected

MAX_TOKEN_BYTES = 8 * 1024
MAX_LIFETIME = 366 * 24 * 3600
"""Seconds that ``exp`` may lie ahead."""
EXPIRY_LEEWAY = 5
START_LEEWAY = 30
REMEMBERED_TOKENS = 10_000

_COMPACT = re.compile(rb"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Times are Unix seconds.

    ``tenant``, ``role``, ``email`` and ``name`` are unchecked. One that is there but no string is kept as
    its JSON, so that it is never mistaken for one that is missing.
    """

    subject: UserId
    expires_at: float
    issued_at: float | None = None
    token_id: str | None = None
    tenant: str | None = None
    role: str | None = None
    email: str | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    claims: Claims
    kid: str | None
    key: Verify


class TokenVerifier:
    """Verifies tokens, and remembers by digest those that were good.

    A storm of reconnects then costs one signature a token. Expiry, revocation and whether the key is still
    trusted are checked each time.
    """

    def __init__(
        self,
        keys: KeySource,
        *,
        algorithm: str,
        revoked: Callable[[Claims], bool],
        issuer: str = "",
        audience: str = "",
        typ: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``algorithm`` is the only one accepted; an empty issuer, audience or typ is not checked."""
        self._keys = keys
        self._algorithm = algorithm
        self._revoked = revoked
        self._issuer = issuer
        self._audience = audience
        self._typ = typ
        self._clock = clock
        self._seen: Lru[bytes, _Seen] = Lru(REMEMBERED_TOKENS)

    async def verify(self, token: str) -> Claims:
        """The claims of a good token.

        Raises:
            TokenRejected: for whatever fault.
        """
        if len(token) > MAX_TOKEN_BYTES:
            raise TokenRejected(Reason.TOO_LONG)
        try:
            compact = token.encode("ascii")
        except UnicodeEncodeError:
            raise TokenRejected(Reason.MALFORMED) from None
        digest = sha256(compact).digest()
        seen = self._seen.get(digest)
        if seen is None or self._keys.find(seen.kid) is not seen.key:
            seen = await self._verify_signed(compact)
        self.recheck(seen.claims)
        self._seen.put(digest, seen)
        return seen.claims

    def recheck(self, claims: Claims) -> None:
        """Whether claims that were verified earlier are good now.

        Raises:
            TokenRejected: expired or revoked since.
        """
        if self._clock() >= claims.expires_at + EXPIRY_LEEWAY:
            raise TokenRejected(Reason.EXPIRED)
        if self._revoked(claims):
            raise TokenRejected(Reason.REVOKED)

    async def _verify_signed(self, compact: bytes) -> _Seen:
        match = _COMPACT.fullmatch(compact)
        if match is None:
            raise TokenRejected(Reason.MALFORMED)
        header_part, claims_part, signature_part = match.groups()
        kid = self._check_header(_json_object(header_part))
        key = await self._key(kid)
        if not key(compact[: match.end(2)], _decode(signature_part)):
            raise TokenRejected(Reason.BAD_SIGNATURE)
        return _Seen(self._read_claims(_json_object(claims_part)), kid, key)

    def _check_header(self, header: Mapping[str, Any]) -> str | None:
        """The ``kid``, if there is one. ``jku``, ``x5u``, ``jwk`` and the like are not even looked at."""
        if header.get("alg") != self._algorithm:
            raise TokenRejected(Reason.BAD_ALGORITHM)
        if "crit" in header:
            # RFC 7515, section 4.1.11: none of the extensions it could name is understood here.
            raise TokenRejected(Reason.CRITICAL_HEADER)
        if self._typ and header.get("typ") != self._typ:
            raise TokenRejected(Reason.WRONG_TYPE)
        return _string(header, "kid")

    async def _key(self, kid: str | None) -> Verify:
        key = self._keys.find(kid)
        if key is None:
            await self._keys.refresh(kid)
            key = self._keys.find(kid)
        if key is None:
            raise TokenRejected(Reason.UNKNOWN_KEY)
        return key

    def _read_claims(self, claims: Mapping[str, Any]) -> Claims:
        expires_at, issued_at = self._check_times(claims)
        self._check_parties(claims)
        subject = _string(claims, "sub")
        if not subject:
            raise TokenRejected(Reason.MISSING_CLAIM)
        return Claims(
            subject=UserId(subject),
            expires_at=expires_at,
            issued_at=issued_at,
            token_id=_string(claims, "jti"),
            tenant=_as_said(claims.get("tenant")),
            role=_as_said(claims.get("role")),
            email=_as_said(claims.get("email")),
            name=_as_said(claims.get("name")),
        )

    def _check_times(self, claims: Mapping[str, Any]) -> tuple[float, float | None]:
        """``exp`` and ``iat`` (RFC 7519, sections 4.1.4 to 4.1.6). That ``exp`` is past is seen later."""
        expires_at, not_before, issued_at = (_numeric_date(claims, name) for name in ("exp", "nbf", "iat"))
        now = self._clock()
        if expires_at is None:
            raise TokenRejected(Reason.MISSING_CLAIM)
        if expires_at > now + MAX_LIFETIME:
            raise TokenRejected(Reason.LIFETIME_TOO_LONG)
        if not_before is not None and not_before > now + START_LEEWAY:
            raise TokenRejected(Reason.NOT_YET_VALID)
        if issued_at is not None and issued_at > now + START_LEEWAY:
            raise TokenRejected(Reason.ISSUED_IN_FUTURE)
        return expires_at, issued_at

    def _check_parties(self, claims: Mapping[str, Any]) -> None:
        if self._issuer and claims.get("iss") != self._issuer:
            raise TokenRejected(Reason.WRONG_ISSUER)
        audience = claims.get("aud")
        named = audience if isinstance(audience, list) else [audience]
        if self._audience and self._audience not in named:
            raise TokenRejected(Reason.WRONG_AUDIENCE)


def issue(
    secret: str,
    subject: UserId,
    *,
    ttl: int,
    now: float,
    jti: str,
    issuer: str = "",
    audience: str = "",
    typ: str = "",
) -> str:
    """An HS256 token that is good for ``ttl`` seconds, for the command line.

    Raises:
        ValueError: the ttl is not positive or longer than a token may live.
    """
    if not 0 < ttl <= MAX_LIFETIME:
        raise ValueError(f"a token lives 1 to {MAX_LIFETIME} seconds")
    claims = {"sub": subject, "iat": int(now), "exp": int(now) + ttl, "jti": jti}
    claims |= {"iss": issuer} if issuer else {}
    claims |= {"aud": audience} if audience else {}
    return jwt.encode(claims, secret, "HS256", headers={"typ": typ or "JWT"})


def _decode(segment: bytes) -> bytes:
    """Base64url without padding (RFC 7515, section 2), in the one form that encoding it gives."""
    try:
        octets = urlsafe_b64decode(segment + b"=" * (-len(segment) % 4))
    except Base64Error:
        raise TokenRejected(Reason.MALFORMED) from None
    if urlsafe_b64encode(octets).rstrip(b"=") != segment:
        raise TokenRejected(Reason.MALFORMED)
    return octets


def _json_object(segment: bytes) -> dict[str, Any]:
    try:
        value = strictjson.loads(_decode(segment))
    except strictjson.MalformedJson:
        raise TokenRejected(Reason.MALFORMED) from None
    if not isinstance(value, dict):
        raise TokenRejected(Reason.MALFORMED)
    return value


def _string(claims: Mapping[str, Any], name: str) -> str | None:
    if name not in claims:
        return None
    value = claims[name]
    if not isinstance(value, str):
        raise TokenRejected(Reason.MALFORMED)
    return value


def _numeric_date(claims: Mapping[str, Any], name: str) -> float | None:
    """Seconds since 1970 (RFC 7519, section 2). JSON's ``true`` is an int to Python and no date here."""
    if name not in claims:
        return None
    value = claims[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise TokenRejected(Reason.MALFORMED)
    return float(value)


def _as_said(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return strictjson.dumps(value).decode()
