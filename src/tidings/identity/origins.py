"""From which web pages requests are taken (contract, section 4), and what browsers are told about it (CORS).

Origins are compared as text, exactly; the ``Host`` header is never asked. Which credential came with a
request is for the caller to say.
"""

Headers = tuple[tuple[str, str], ...]

_NO_ORIGINS = frozenset({"", "*", "null"})
_METHODS = "GET, HEAD, POST, PUT"
_REQUEST_HEADERS = (
    "Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Range, If-Range, If-None-Match"
)
_RESPONSE_HEADERS = (
    "Location, Retry-After, RateLimit, RateLimit-Policy, Content-Disposition, Content-Range, Accept-Ranges, "
    "ETag, WWW-Authenticate"
)
_PREFLIGHT_SECONDS = 600
_VARY = ("Vary", "Origin")


class Origins:
    """The origins that are allowed, the server's own among them."""

    def __init__(self, allowed: frozenset[str]) -> None:
        """Take the origins as browsers write them (RFC 6454, section 6.2).

        Raises:
            ValueError: a wildcard, ``null`` or an empty text is among them.
        """
        if allowed & _NO_ORIGINS:
            raise ValueError("a wildcard, null or nothing is no origin")
        self._allowed = allowed

    def check(self, origin: str | None, *, explicit_token: bool, fetch_site: str | None = None) -> bool:
        """Whether a request with this ``Origin`` (None: it has none) may go on.

        ``explicit_token`` is False where a cookie is the credential, which browsers send unasked; then a
        request without an Origin needs ``Sec-Fetch-Site: same-origin``. Several Origin headers are given
        joined by a comma, which is no origin.
        """
        if origin is not None:
            return origin in self._allowed
        return explicit_token or fetch_site == "same-origin"

    def cors_headers(self, origin: str | None) -> Headers:
        """What lets the page read the response (Fetch standard, "CORS protocol"). Never a wildcard."""
        if origin not in self._allowed:
            return (_VARY,)
        return (*self._granted(origin), ("Access-Control-Expose-Headers", _RESPONSE_HEADERS))

    def preflight_headers(self, origin: str | None) -> Headers:
        """What answers an ``OPTIONS`` with ``Access-Control-Request-Method``. No grant for other origins."""
        if origin not in self._allowed:
            return (_VARY,)
        return (
            *self._granted(origin),
            ("Access-Control-Allow-Methods", _METHODS),
            ("Access-Control-Allow-Headers", _REQUEST_HEADERS),
            ("Access-Control-Max-Age", str(_PREFLIGHT_SECONDS)),
        )

    @staticmethod
    def _granted(origin: str) -> Headers:
        return (
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Allow-Credentials", "true"),
            _VARY,
        )
