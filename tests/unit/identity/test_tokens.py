"""The rules of a token, each on its own, and the promise that nothing but a rejection comes out."""

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.identity_rig import NOW, HandClock, user_id
from tidings.identity.keys import SecretKeySource, Verify
from tidings.identity.rejection import Reason, TokenRejected
from tidings.identity.tokens import MAX_LIFETIME, Claims, TokenVerifier, issue

SECRET = "a secret of at least thirty-two bytes, for tests"
GOOD: dict[str, Any] = {"sub": user_id(1), "exp": NOW + 60}
_SIGN = jwt.algorithms.get_default_algorithms()["HS256"]


def segment(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def sealed(header: bytes, claims: bytes, secret: str = SECRET) -> str:
    """A token with a true signature over whatever octets a test needs."""
    message = f"{segment(header)}.{segment(claims)}"
    return f"{message}.{segment(_SIGN.sign(message.encode(), secret.encode()))}"


def token(claims: dict[str, Any], **header: Any) -> str:
    return sealed(json.dumps({"alg": "HS256", **header}).encode(), json.dumps(claims).encode())


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in GOOD.items() if key != name}


def verifier(
    *,
    revoked: Callable[[Claims], bool] = lambda _: False,
    clock: HandClock | None = None,
    issuer: str = "",
    audience: str = "",
    typ: str = "",
) -> TokenVerifier:
    return TokenVerifier(
        SecretKeySource(SECRET),
        algorithm="HS256",
        revoked=revoked,
        issuer=issuer,
        audience=audience,
        typ=typ,
        clock=clock or HandClock(),
    )


async def rejection(checker: TokenVerifier, text: str) -> Reason:
    with pytest.raises(TokenRejected) as caught:
        await checker.verify(text)
    return caught.value.reason


async def test_a_good_token_gives_its_claims() -> None:
    """Everything that is said is passed on as said."""
    said = {**GOOD, "iat": NOW, "jti": "j", "tenant": "acme", "role": "ADMIN", "email": "e@x", "name": "N"}
    claims = await verifier().verify(token(said))
    assert claims == Claims(user_id(1), NOW + 60, NOW, "j", "acme", "ADMIN", "e@x", "N")


async def test_an_odd_claim_is_no_missing_one() -> None:
    """A role that is a list is kept as its JSON, which is no role; null is the same as nothing."""
    claims = await verifier().verify(token({**GOOD, "role": ["ADMIN"], "tenant": 7, "name": None}))
    assert (claims.role, claims.tenant, claims.name, claims.email) == ('["ADMIN"]', "7", None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b",
        "a.b.c.d",
        ".".join(token(GOOD).split(".")[:2]) + ".",
        "." + token(GOOD).partition(".")[2],
        token(GOOD) + "=",
        token(GOOD) + "\n",
        " " + token(GOOD),
        "A." + token(GOOD).partition(".")[2],
        "ü.b.c",
        "\ud800.b.c",
        sealed(b"[]", b"{}"),
        sealed(b'"HS256"', b"{}"),
        sealed(b"\xff", b"{}"),
        sealed(b'{"alg":"HS256"}', b"7"),
        sealed(b'{"alg":"HS256"}', b"not json"),
        sealed(b'{"alg":"HS256","alg":"HS256"}', json.dumps(GOOD).encode()),
        sealed(b'{"alg":"HS256"}', json.dumps(GOOD).encode()[:-1] + b',"sub":"other"}'),
        token(GOOD, kid=7),
    ],
)
async def test_what_is_no_token_is_malformed(text: str) -> None:
    """Three non-empty base64url segments, JSON objects without duplicate keys, nothing around them."""
    assert await rejection(verifier(), text) is Reason.MALFORMED


async def test_a_signature_has_one_spelling() -> None:
    """The last character's unused bits may not be set: one token, one text."""
    good = token(GOOD)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = good[:-1] + alphabet[alphabet.index(good[-1]) + 1]
    assert await rejection(verifier(), other) is Reason.MALFORMED


async def test_length_is_checked_before_anything_is_read() -> None:
    """Contract: "tokens over 8 KiB refused"."""
    assert await rejection(verifier(), "x" * 8192) is Reason.MALFORMED
    assert await rejection(verifier(), "x" * 8193) is Reason.TOO_LONG


async def test_a_long_token_within_the_limit_is_good() -> None:
    """The limit is the only thing wrong with a long token."""
    long = token({**GOOD, "groups": "g" * 5900})
    assert 8000 < len(long) <= 8192
    assert (await verifier().verify(long)).subject == user_id(1)


@pytest.mark.parametrize(
    "text",
    [
        token(GOOD, alg="none"),
        token(GOOD, alg="hs256"),
        token(GOOD, alg="HS512"),
        token(GOOD, alg=["HS256"]),
        token(GOOD, alg=None),
        sealed(b"{}", json.dumps(GOOD).encode()),
        jwt.encode(GOOD, SECRET, "HS384"),
    ],
)
async def test_the_algorithm_is_the_configured_one(text: str) -> None:
    """Contract: "Algorithms come from configuration alone"."""
    assert await rejection(verifier(), text) is Reason.BAD_ALGORITHM


@pytest.mark.parametrize("crit", [["b64"], ["exp"], [], None])
async def test_critical_extensions_are_refused(crit: object) -> None:
    """RFC 7515, section 4.1.11: what is critical and not understood makes the token invalid."""
    assert await rejection(verifier(), token(GOOD, crit=crit)) is Reason.CRITICAL_HEADER


async def test_keys_that_a_token_brings_along_are_not_used() -> None:
    """A token signed with the key in its own header is signed by a stranger."""
    stranger = "another secret of at least thirty-two bytes, really"
    header = {
        "alg": "HS256",
        "jwk": {"kty": "oct", "k": segment(stranger.encode())},
        "jku": "https://stranger.example/keys",
        "x5u": "https://stranger.example/cert",
    }
    forged = sealed(json.dumps(header).encode(), json.dumps(GOOD).encode(), stranger)
    assert await rejection(verifier(), forged) is Reason.BAD_SIGNATURE


async def test_a_changed_token_has_a_bad_signature() -> None:
    """Header, claims or signature of another token, and a signature cut short."""
    header, body, signature = token(GOOD).split(".")
    other_header, other_body, other_signature = token({**GOOD, "sub": user_id(2)}, typ="JWT").split(".")
    for parts in (
        (other_header, body, signature),
        (header, other_body, signature),
        (header, body, other_signature),
        (header, body, signature[:-3]),
    ):
        assert await rejection(verifier(), ".".join(parts)) is Reason.BAD_SIGNATURE


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        (without("exp"), Reason.MISSING_CLAIM),
        (without("sub"), Reason.MISSING_CLAIM),
        ({**GOOD, "sub": ""}, Reason.MISSING_CLAIM),
        ({**GOOD, "sub": 7}, Reason.MALFORMED),
        ({**GOOD, "sub": None}, Reason.MALFORMED),
        ({**GOOD, "jti": 7}, Reason.MALFORMED),
        ({**GOOD, "jti": None}, Reason.MALFORMED),
    ],
)
async def test_exp_and_sub_are_required(claims: dict[str, Any], reason: Reason) -> None:
    """Contract: "`exp` and `sub` are required"; what is there has the right type."""
    assert await rejection(verifier(), token(claims)) is reason


@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", [str(int(NOW + 9)), True, None, [NOW], {}, -1, float("nan"), float("inf")])
async def test_dates_are_numbers(name: str, value: object) -> None:
    """Contract: "numeric dates only"."""
    assert await rejection(verifier(), token({**GOOD, name: value})) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": NOW - 4.9}, None),
        ({"exp": NOW - 5}, Reason.EXPIRED),
        ({"exp": 0}, Reason.EXPIRED),
        ({"exp": NOW + MAX_LIFETIME}, None),
        ({"exp": NOW + MAX_LIFETIME + 1}, Reason.LIFETIME_TOO_LONG),
        ({"exp": 1e300}, Reason.LIFETIME_TOO_LONG),
        ({"nbf": NOW + 30}, None),
        ({"nbf": NOW + 31}, Reason.NOT_YET_VALID),
        ({"iat": NOW + 30}, None),
        ({"iat": NOW + 31}, Reason.ISSUED_IN_FUTURE),
        ({"iat": 0, "nbf": 0}, None),
    ],
)
async def test_times_have_their_leeway(changed: dict[str, float], reason: Reason | None) -> None:
    """Contract: "`nbf` and `iat` with 30 s leeway, `exp` with 5 s and at most 366 days ahead"."""
    text = token({**GOOD, **changed})
    if reason is None:
        assert (await verifier().verify(text)).subject == user_id(1)
    else:
        assert await rejection(verifier(), text) is reason


@pytest.mark.parametrize(
    ("issuer", "audience", "said", "reason"),
    [
        ("https://id", "", {"iss": "https://id"}, None),
        ("https://id", "", {"iss": "https://id/"}, Reason.WRONG_ISSUER),
        ("https://id", "", {"iss": ["https://id"]}, Reason.WRONG_ISSUER),
        ("https://id", "", {}, Reason.WRONG_ISSUER),
        ("", "", {"iss": 7, "aud": 7}, None),
        ("", "api", {"aud": "api"}, None),
        ("", "api", {"aud": ["web", "api"]}, None),
        ("", "api", {"aud": "api2"}, Reason.WRONG_AUDIENCE),
        ("", "api", {"aud": ["web"]}, Reason.WRONG_AUDIENCE),
        ("", "api", {"aud": {"api": 1}}, Reason.WRONG_AUDIENCE),
        ("", "api", {}, Reason.WRONG_AUDIENCE),
    ],
)
async def test_issuer_and_audience_are_exact_when_configured(
    issuer: str, audience: str, said: dict[str, Any], reason: Reason | None
) -> None:
    """Contract: "checked exactly when configured"; "`aud` may be a list that holds the value"."""
    checker, text = verifier(issuer=issuer, audience=audience), token({**GOOD, **said})
    if reason is None:
        assert await checker.verify(text)
    else:
        assert await rejection(checker, text) is reason


async def test_typ_is_the_header() -> None:
    """Contract: "`typ` is the JOSE header", exact, and a claim of that name is nothing."""
    checker = verifier(typ="at+jwt")
    assert await checker.verify(token(GOOD, typ="at+jwt"))
    for text in (token(GOOD, typ="AT+JWT"), token(GOOD), token({**GOOD, "typ": "at+jwt"})):
        assert await rejection(checker, text) is Reason.WRONG_TYPE


async def test_revocation_is_asked_with_the_claims() -> None:
    """Contract: "`jti` honoured for revocation"."""
    checker = verifier(revoked=lambda claims: claims.token_id == "stolen")
    assert await rejection(checker, token({**GOOD, "jti": "stolen"})) is Reason.REVOKED
    assert await checker.verify(token({**GOOD, "jti": "mine"}))


class CountingKeys:
    """One key that may be withdrawn, learnt by asking, with every signature counted."""

    def __init__(self) -> None:
        self.verified = 0
        self.asked: list[str | None] = []
        self.known: dict[str | None, Verify] = {None: self._verify}
        self.remote: dict[str | None, Verify] = {}

    def _verify(self, message: bytes, signature: bytes) -> bool:
        self.verified += 1
        key = SecretKeySource(SECRET).find(None)
        assert key is not None
        return key(message, signature)

    def find(self, kid: str | None) -> Verify | None:
        return self.known.get(kid)

    async def refresh(self, kid: str | None) -> None:
        self.asked.append(kid)
        self.known.update(self.remote)


async def test_a_reconnect_does_not_verify_twice() -> None:
    """The signature is checked once, expiry and revocation each time."""
    keys, clock = CountingKeys(), HandClock()
    revoked: set[str | None] = set()
    checker = TokenVerifier(
        keys, algorithm="HS256", clock=clock, revoked=lambda claims: claims.token_id in revoked
    )
    text = token({**GOOD, "jti": "j"})
    first = await checker.verify(text)
    assert await checker.verify(text) is first
    revoked.add("j")
    assert await rejection(checker, text) is Reason.REVOKED
    clock.now += 65
    assert await rejection(checker, text) is Reason.EXPIRED
    assert keys.verified == 1


async def test_a_withdrawn_key_is_not_trusted_from_memory() -> None:
    """What was verified with a key that is gone is not good any more."""
    keys = CountingKeys()
    checker = TokenVerifier(keys, algorithm="HS256", clock=HandClock(), revoked=lambda _: False)
    text = token(GOOD)
    await checker.verify(text)
    keys.known.clear()
    assert await rejection(checker, text) is Reason.UNKNOWN_KEY


async def test_an_unknown_key_is_asked_for_once() -> None:
    """A key that the source learns of serves the token that named it; one it does not, rejects it."""
    keys = CountingKeys()
    checker = TokenVerifier(keys, algorithm="HS256", clock=HandClock(), revoked=lambda _: False)
    assert await rejection(checker, token(GOOD, kid="new")) is Reason.UNKNOWN_KEY
    keys.remote["new"] = keys.known[None]
    assert await checker.verify(token(GOOD, kid="new"))
    assert await checker.verify(token(GOOD, kid="new"))
    assert keys.asked == ["new", "new"]


async def test_recheck_of_claims_that_are_held() -> None:
    """A live connection's claims can be asked about again without their token."""
    clock, revoked = HandClock(), set[str]()
    checker = verifier(clock=clock, revoked=lambda claims: claims.subject in revoked)
    claims = await checker.verify(token(GOOD))
    checker.recheck(claims)
    revoked.add(user_id(1))
    with pytest.raises(TokenRejected, match="revoked"):
        checker.recheck(claims)


async def test_an_issued_token_is_good() -> None:
    """What the command line issues passes the verifier of the same configuration, and lives its ttl."""
    text = issue(
        SECRET, user_id(3), ttl=60, now=NOW, jti="j", issuer="https://id", audience="api", typ="at+jwt"
    )
    checker = verifier(issuer="https://id", audience="api", typ="at+jwt")
    assert await checker.verify(text) == Claims(user_id(3), NOW + 60, NOW, "j")
    plain = issue(SECRET, user_id(3), ttl=60, now=NOW, jti="j")
    assert jwt.decode(plain, options={"verify_signature": False}).keys() == {"sub", "iat", "exp", "jti"}


@pytest.mark.parametrize("ttl", [0, -1, MAX_LIFETIME + 1])
def test_no_token_is_issued_that_would_be_refused(ttl: int) -> None:
    """A ttl is positive and at most 366 days."""
    with pytest.raises(ValueError, match="a token lives"):
        issue(SECRET, user_id(1), ttl=ttl, now=NOW, jti="j")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
KNOWN = st.sampled_from(
    ["sub", "exp", "nbf", "iat", "jti", "iss", "aud", "tenant", "role", "alg", "typ", "kid"]
)


async def survives(text: str) -> None:
    try:
        await verifier(issuer="i", audience="a").verify(text)
    except TokenRejected:
        return
    pytest.fail("a token nobody made was accepted")


@given(
    st.text() | st.text("aA0-_.=", max_size=60) | st.builds(".".join, st.lists(st.text("aA0-_"), max_size=4))
)
async def test_arbitrary_text_is_rejected_and_nothing_else(text: str) -> None:
    """Whatever is sent, the only thing that comes out is TokenRejected."""
    await survives(text)


@given(st.binary(max_size=80), st.binary(max_size=80))
async def test_arbitrary_octets_are_rejected(header: bytes, claims: bytes) -> None:
    """Likewise for octets that decode from base64url and are signed."""
    await survives(sealed(header, claims))
    await survives(sealed(b'{"alg":"HS256"}', claims))


@given(st.dictionaries(KNOWN, JSON), st.dictionaries(KNOWN.filter(lambda name: name != "iss"), JSON))
async def test_arbitrary_json_is_rejected(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Likewise for well-signed JSON that lacks what is asked for, whatever its types."""
    await survives(token(claims, **{**header, "alg": "HS256"}))
