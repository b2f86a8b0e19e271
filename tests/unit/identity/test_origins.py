"""Origins and what browsers are told."""

import pytest

from tidings.identity.origins import Origins

ALLOWED = "https://app.example.com"
ORIGINS = Origins(frozenset({ALLOWED, "http://localhost:3000"}))
STRANGERS = [
    "",
    "null",
    "*",
    "https://app.example.com/",
    "https://app.example.com:443",
    "http://app.example.com",
    "https://APP.example.com",
    "https://app.example.com.evil.example",
    "https://evil.example",
    "https://sub.app.example.com",
    " https://app.example.com",
    "https://app.example.com, https://app.example.com",
    "http://localhost:3001",
]


@pytest.mark.parametrize("explicit_token", [True, False])
@pytest.mark.parametrize("origin", STRANGERS)
def test_a_present_origin_is_allowed_exactly_or_refused(
    origin: str,
    *,
    explicit_token: bool,
) -> None:
    """Contract: "A present Origin that is not allowed, empty and `null` included, is 403"."""
    assert not ORIGINS.check(origin, explicit_token=explicit_token)
    assert not ORIGINS.check(origin, explicit_token=explicit_token, fetch_site="same-origin")


@pytest.mark.parametrize("explicit_token", [True, False])
def test_an_allowed_origin_is_allowed(*, explicit_token: bool) -> None:
    """Contract: "accepted only with an allowed `Origin`" holds for cookies too."""
    assert ORIGINS.check(ALLOWED, explicit_token=explicit_token)
    assert ORIGINS.check(ALLOWED, explicit_token=explicit_token, fetch_site="cross-site")


@pytest.mark.parametrize(
    ("explicit_token", "fetch_site", "expected"),
    [
        (True, None, True),
        (True, "cross-site", True),
        (False, None, False),
        (False, "same-origin", True),
        (False, "same-site", False),
        (False, "cross-site", False),
        (False, "none", False),
    ],
)
def test_a_missing_origin_depends_on_the_credential(
    *,
    explicit_token: bool,
    fetch_site: str | None,
    expected: bool,
) -> None:
    """Contract: "A missing Origin is allowed where the credential is an explicit token, never with a cookie".

    A session cookie "is accepted only with an allowed `Origin` or `Sec-Fetch-Site: same-origin`".
    """
    assert ORIGINS.check(None, explicit_token=explicit_token, fetch_site=fetch_site) is expected


@pytest.mark.parametrize("nonsense", ["*", "null", ""])
def test_a_wildcard_is_a_configuration_error(nonsense: str) -> None:
    """Contract: "A wildcard is a configuration error"."""
    with pytest.raises(ValueError, match="is no origin"):
        Origins(frozenset({ALLOWED, nonsense}))


def test_an_allowed_page_may_read_the_response() -> None:
    """The origin itself is named, never a wildcard, and caches are told that it varies."""
    headers = dict(ORIGINS.cors_headers(ALLOWED))
    assert headers["Access-Control-Allow-Origin"] == ALLOWED
    assert headers["Access-Control-Allow-Credentials"] == "true"
    assert headers["Vary"] == "Origin"
    assert "Retry-After" in headers["Access-Control-Expose-Headers"]


def test_a_preflight_is_told_what_may_be_sent() -> None:
    """The headers that the contract's requests carry: tokens, JSON, idempotency keys, stream positions."""
    headers = dict(ORIGINS.preflight_headers(ALLOWED))
    assert headers["Access-Control-Allow-Origin"] == ALLOWED
    assert headers["Vary"] == "Origin"
    asked = {"Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"}
    assert asked <= set(headers["Access-Control-Allow-Headers"].split(", "))
    assert {"GET", "POST", "PUT"} <= set(headers["Access-Control-Allow-Methods"].split(", "))


@pytest.mark.parametrize("origin", [None, *STRANGERS])
def test_others_are_granted_nothing(origin: str | None) -> None:
    """Whoever is not allowed learns nothing but that the answer varies."""
    assert ORIGINS.cors_headers(origin) == ORIGINS.preflight_headers(origin) == (("Vary", "Origin"),)
