"""Contract, sections 2 and 11: key sets that are fetched, rotate, and outlive the key server for a while."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.identity_rig import HandClock
from tests.support.key_server import public
from tidings.identity.jwks import (
    ASK_SECONDS,
    EVERY_SECONDS,
    TRUST_SECONDS,
    FetchFailed,
    JwksKeySource,
    read_keys,
)
from tidings.identity.jwks_http import FETCH_SECONDS

EC = ec.generate_private_key(ec.SECP256R1())
OTHER_EC = ec.generate_private_key(ec.SECP256R1())


class Script:
    """``Fetch`` of what a test says; None is a key server that is away."""

    def __init__(self, **keys: ec.EllipticCurvePrivateKey) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] | None = keys
        self.fetched = 0
        self.closed = False
        self.gate = asyncio.Event()
        self.gate.set()

    async def get(self) -> bytes:
        self.fetched += 1
        await self.gate.wait()
        if self.keys is None:
            raise FetchFailed("away")
        return document(*(public(kid, key) for kid, key in self.keys.items()))

    async def close(self) -> None:
        self.closed = True


def document(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": keys}).encode()


def jwk_of(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> dict[str, Any]:
    """The public half, with nothing beside."""
    if isinstance(key, rsa.RSAPrivateKey):
        text = RSAAlgorithm.to_jwk(key.public_key())
    elif isinstance(key, ec.EllipticCurvePrivateKey):
        text = ECAlgorithm.to_jwk(key.public_key())
    else:
        text = OKPAlgorithm.to_jwk(key.public_key())
    made: dict[str, Any] = json.loads(text)
    made.pop("key_ops", None)
    return made


async def test_an_unknown_key_is_fetched_once_in_a_while() -> None:
    """ "unknown ``kid``s cause at most one fetch in 30 s"."""
    clock, fetch = HandClock(), Script(a=EC)
    source = JwksKeySource(fetch, "ES256", clock=clock)
    assert source.find("a") is None
    for kid in ("a", "b", "c"):
        await source.refresh(kid)
    assert fetch.fetched == 1
    known = source.find("a")
    assert known is not None
    clock.now += ASK_SECONDS
    await source.refresh("a")
    assert fetch.fetched == 1
    await source.refresh("b")
    assert fetch.fetched == 2
    assert source.find("a") is known


async def test_all_who_ask_meanwhile_wait_for_the_one_fetch() -> None:
    """In a storm after a rotation nobody is refused for having come second."""
    fetch = Script(a=EC)
    fetch.gate.clear()
    source = JwksKeySource(fetch, "ES256")
    waiting = [asyncio.create_task(source.refresh("a")) for _ in range(20)]
    await asyncio.sleep(0)
    assert fetch.fetched == 1
    fetch.gate.set()
    await asyncio.gather(*waiting)
    assert (fetch.fetched, source.find("a") is None) == (1, False)


async def test_keys_rotate() -> None:
    """A key that is gone is found no more, one that has changed is another, and one that stayed is the same."""
    clock, fetch = HandClock(), Script(a=EC, b=EC, c=EC)
    source = JwksKeySource(fetch, "ES256", clock=clock)
    await source.refresh("a")
    before = {kid: source.find(kid) for kid in "abc"}
    fetch.keys = {"a": EC, "b": OTHER_EC, "d": OTHER_EC}
    clock.now += ASK_SECONDS
    await source.refresh("d")
    assert source.find("a") is before["a"]
    assert source.find("b") is not before["b"]
    assert source.find("c") is None


async def test_while_the_key_server_is_away() -> None:
    """ "while the key server is away, known keys serve on for 24 h and unknown ones are refused"."""
    clock, fetch = HandClock(), Script(a=EC)
    source = JwksKeySource(fetch, "ES256", clock=clock)
    await source.refresh("a")
    fetch.keys = None
    clock.now += TRUST_SECONDS - 1
    await source.refresh("b")
    assert source.find("a") is not None
    assert source.find("b") is None
    clock.now += 1
    assert source.find("a") is None


async def test_a_token_without_a_key_id() -> None:
    """It is checked with the only key there is; of several none is guessed."""
    source = JwksKeySource(fetch := Script(a=EC), "ES256", clock=(clock := HandClock()))
    await source.refresh(None)
    assert source.find(None) is source.find("a") is not None
    fetch.keys = {"a": EC, "b": OTHER_EC}
    clock.now += ASK_SECONDS
    await source.refresh("b")
    assert source.find(None) is None


async def test_fetched_on_a_timer() -> None:
    """ "a new key is honoured within 60 s", whether or not a token names it; the connection is given back."""
    assert EVERY_SECONDS + 2 * FETCH_SECONDS <= 60
    fetch = Script(a=EC)
    source = JwksKeySource(fetch, "ES256")
    running = asyncio.create_task(source.run())
    await asyncio.sleep(0)
    await source.refresh("a")
    assert (fetch.fetched, source.find("a") is None) == (1, False)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert fetch.closed


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS256", rsa.generate_private_key(public_exponent=65537, key_size=2048)),
        ("ES256", EC),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_keys_of_the_algorithm(
    algorithm: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
) -> None:
    """Algorithms come from configuration alone: each key serves its own, and no other is made of it."""
    for configured in ("RS256", "ES256", "EdDSA"):
        found = read_keys(document({**jwk_of(key), "kid": "a"}), configured)
        assert list(found) == (["a"] if configured == algorithm else [])


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"alg": "ES384"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"kid": 1},
        {"kty": "oct"},
        {"x": "AAAA"},
        {"x": None},
        {"crv": "P-521"},
        {"d": "c2VjcmV0"},
    ],
)
def test_what_is_left_out(change: dict[str, Any]) -> None:
    """Private keys, keys for something else and broken ones; the good one beside is read."""
    good = {**jwk_of(EC), "kid": "good"}
    assert list(read_keys(document({**good, "kid": "bad", **change}, good), "ES256")) == ["good"]


def test_short_and_repeated_keys() -> None:
    """An RSA key has 2048 bits; the second key of an id does not take the place of the first."""
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    assert read_keys(document({**jwk_of(short), "kid": "a"}), "RS256") == {}
    first, second = ({**jwk_of(key), "kid": "a"} for key in (EC, OTHER_EC))
    (found,) = read_keys(document(first, second), "ES256").values()
    assert found.material == read_keys(document(first), "ES256")["a"].material


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"{}", b'{"keys": {}}', b"<html>", b'{"keys": [' + b"1," * 100 + b"1]}"]
)
def test_what_is_no_key_set(text: bytes) -> None:
    """A fault of the key server, which leaves what was known."""
    with pytest.raises(FetchFailed):
        read_keys(text, "ES256")
