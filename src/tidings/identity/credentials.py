"""Which credential a request brings: headers, cookies and packets in, at most one token out.

Pure functions over strings. Whether the token is any good is not asked here, and whether a cookie may be used
at all is for the rule of origins.
"""

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl

from tidings.identity.rejection import CredentialConflict, CredentialRejected, Reason

COOKIE_SECURE = "__Host-tidings"
"""The console's cookie over https (RFC 6265bis, section 4.1.3.2: the prefix binds it to this host)."""
COOKIE_PLAIN = "tidings"
"""The console's cookie without https."""

QUERY_NAMES = frozenset(
    {
        *(
            "token",
            "access_token",
            "auth_token",
            "bearer_token",
            "id_token",
            "refresh_token",
            "session_token",
        ),
        *("accesstoken", "authtoken", "bearertoken", "idtoken", "refreshtoken", "sessiontoken"),
        *("api_key", "apikey", "x_api_key", "api_token", "apitoken"),
        *("auth", "authorization", "bearer", "jwt"),
    }
)
"""Parameters in which people put tokens. ``ticket`` is none: it is made for the query string."""

_NAME = re.compile(r"[a-z0-9_]+")
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
"""A JWT's header is a JSON object, so its base64url begins like this (RFC 7515, section 3.1)."""

_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)


def bearer(authorization: Sequence[str]) -> str | None:
    """The token out of a request's ``Authorization`` headers (RFC 6750, section 2.1).

    None when there is no such header, or one of another scheme, which is no business of ours.

    Raises:
        CredentialRejected: more than one header, or a Bearer header that holds no token.
    """
    if not authorization:
        return None
    if len(authorization) > 1:
        raise CredentialRejected(Reason.MALFORMED_HEADER)
    value = authorization[0].strip(" \t")
    if value.split(" ", 1)[0].lower() != "bearer":
        return None
    match = _BEARER.fullmatch(value)
    if match is None:
        raise CredentialRejected(Reason.MALFORMED_HEADER)
    return match.group(1)


def cookie(headers: Sequence[str], name: str) -> str | None:
    """The token out of a request's ``Cookie`` headers (RFC 6265, section 4.2.1).

    Raises:
        CredentialConflict: the cookie is there twice with differing values.
    """
    pairs = (pair.partition("=") for header in headers for pair in header.split(";"))
    return single(*(value.strip() or None for key, _, value in pairs if key.strip() == name))


def single(*credentials: str | None) -> str | None:
    """The one credential of those given; the same one twice is one.

    Raises:
        CredentialConflict: two of them differ.
    """
    differing = {credential for credential in credentials if credential is not None}
    if len(differing) > 1:
        raise CredentialConflict
    return differing.pop() if differing else None


def token_in_query(query: str) -> bool:
    """Whether a raw query string (without ``?``) carries a token, which is refused and audited: by the name of a
    parameter, ``auth[token]`` and ``token[]`` too, or by a value that looks like a JWT.
    """
    return bool(query) and any(_tells(name) or _JWT.search(value) for name, value in parse_qsl(query))


def _tells(name: str) -> bool:
    return not QUERY_NAMES.isdisjoint(_NAME.findall(name.lower().replace("-", "_")))
