"""Which credential a request brings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.identity.credentials import COOKIE_PLAIN, COOKIE_SECURE, bearer, cookie, single, token_in_query
from tidings.identity.rejection import CredentialConflict, CredentialRejected, Reason


@pytest.mark.parametrize("value", ["Bearer a.b-_~+/c==", "bearer   a.b-_~+/c==", "BEARER a.b-_~+/c== "])
def test_a_bearer_token_is_found(value: str) -> None:
    """RFC 6750, section 2.1: ``"Bearer" 1*SP b64token``; RFC 9110, section 11.1: schemes ignore case."""
    assert bearer([value]) == "a.b-_~+/c=="


@pytest.mark.parametrize("values", [[], ["Basic dXNlcjpwYXNz"], [""], ["Bearertoken"], ["token"]])
def test_other_schemes_are_no_business_of_ours(values: list[str]) -> None:
    """A proxy's Basic credentials do not stand in the way of a cookie or of ``auth.token``."""
    assert bearer(values) is None


@pytest.mark.parametrize(
    "values",
    [
        ["Bearer"],
        ["Bearer "],
        ["Bearer a b"],
        ["Bearer a,Bearer b"],
        ['Bearer "a"'],
        ["Bearer ü"],
        ["Bearer =a"],
        ["Bearer a", "Bearer a"],
        ["Basic x", "Bearer a"],
    ],
)
def test_a_bearer_header_that_is_not_one_token_is_refused(values: list[str]) -> None:
    """Exactly one header with exactly one token, or nobody can say which of them counts."""
    with pytest.raises(CredentialRejected) as caught:
        bearer(values)
    assert caught.value.reason is Reason.MALFORMED_HEADER


@given(st.lists(st.text(max_size=30), max_size=2))
def test_headers_never_raise_anything_else(values: list[str]) -> None:
    """Arbitrary text is a token, nothing, or a rejection."""
    try:
        bearer(values)
    except CredentialRejected:
        return


def test_equal_credentials_are_one() -> None:
    """The same token in two places is no contradiction."""
    assert single() is None
    assert single(None, None) is None
    assert single(None, "a", None, "a") == "a"


def test_differing_credentials_are_refused() -> None:
    """Contract: "Two differing credentials in one request are refused"."""
    with pytest.raises(CredentialConflict) as caught:
        single("a", None, "b")
    assert caught.value.reason is Reason.CONFLICT


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], None),
        (["other=1"], None),
        (["tidings=a.b.c"], "a.b.c"),
        (["x=1; tidings=a=b; y"], "a=b"),
        (["x=1", " tidings = a "], "a"),
        (["tidings="], None),
        (["tidings"], None),
        (["tidings=a; tidings=a"], "a"),
        (["__Host-tidings=a"], None),
    ],
)
def test_a_cookie_is_found_by_its_exact_name(headers: list[str], expected: str | None) -> None:
    """Pairs between semicolons, over all the headers there are."""
    assert cookie(headers, COOKIE_PLAIN) == expected


def test_a_cookie_that_is_there_twice_and_differs_is_refused() -> None:
    """A cookie planted beside the true one does not win by its place."""
    with pytest.raises(CredentialConflict):
        cookie(["__Host-tidings=a; __Host-tidings=b"], COOKIE_SECURE)


@pytest.mark.parametrize(
    "query",
    [
        "token=x",
        "a=1&access_token=x",
        "AUTH=x",
        "jwt=x&a",
        "bearer=x",
        "authorization=Bearer+x",
        "%74oken=x",
        "+token=x",
        "ticket=y&Token=x",
        "id_token=x",
        "apikey=x",
        "API-Key=x",
        "token[]=x",
        "auth%5Btoken%5D=x",
        "user.jwt=x",
        "idToken=x",
        "q=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
        "q=Bearer+eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
        "q=eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0.",
        "ticket=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln",
    ],
)
def test_a_token_in_the_query_is_seen(query: str) -> None:
    """Contract: "A token in a query string is refused and audited"."""
    assert token_in_query(query)


@pytest.mark.parametrize(
    "query",
    [
        "",
        "ticket=x",
        "EIO=4&transport=websocket",
        "tokens=x",
        "token=",
        "a=token",
        "cursor=eyJpZCI6MX0",
        "cursor=a1b2.12.c3d4.7",
        "sid=eyJ-x.y",
        "sid=keyJa.b.c",
        "kind=jwt.rotate",
        "author=x",
    ],
)
def test_other_queries_are_left_alone(query: str) -> None:
    """Contract: "`?ticket=` is accepted" where it belongs, and an empty parameter carries nothing."""
    assert not token_in_query(query)


@given(st.text())
def test_any_query_can_be_asked_about(query: str) -> None:
    """The answer is a boolean, whatever was sent."""
    assert token_in_query(query) in (True, False)
