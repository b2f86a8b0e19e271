"""Key sources, with real keys and real signatures."""

from collections.abc import Callable
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from tidings.identity.keys import PemKeySource, SecretKeySource, Verify

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

KEYS: dict[str, PrivateKey] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def public_pem(key: PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def signed(algorithm: str) -> tuple[bytes, bytes]:
    message, _, signature = jwt.encode({"sub": "x"}, KEYS[algorithm], algorithm).rpartition(".")
    return message.encode(), jwt.utils.base64url_decode(signature)


def found(source: SecretKeySource | PemKeySource) -> Verify:
    key = source.find(None)
    assert key is not None
    return key


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_public_key_verifies_its_own_signatures_only(algorithm: str) -> None:
    """True for the signature, False for another message, another signature and no signature at all."""
    verify = found(PemKeySource(public_pem(KEYS[algorithm]), algorithm))
    message, signature = signed(algorithm)
    assert verify(message, signature)
    assert not verify(message + b"x", signature)
    assert not verify(message, bytes(len(signature)))
    assert not verify(message, b"")


def test_a_pem_may_be_a_file_or_have_escaped_line_breaks(tmp_path: Path) -> None:
    """Contract: "`TIDINGS_JWT_PUBLIC_KEY` (PEM or a file's path)"."""
    pem = public_pem(KEYS["ES256"])
    path = tmp_path / "key.pem"
    path.write_text(pem)
    message, signature = signed("ES256")
    for given in (pem, str(path), pem.replace("\n", "\\n")):
        assert found(PemKeySource(given, "ES256"))(message, signature)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA", "HS256", "none"])
@pytest.mark.parametrize("kind", KEYS)
def test_a_key_serves_its_own_algorithm_only(kind: str, algorithm: str) -> None:
    """A key of another family is a configuration error, not a token's choice."""
    if kind == algorithm:
        PemKeySource(public_pem(KEYS[kind]), algorithm)
    else:
        with pytest.raises(ValueError, match=f"not a key for {algorithm}"):
            PemKeySource(public_pem(KEYS[kind]), algorithm)


def _short_rsa() -> str:
    return public_pem(rsa.generate_private_key(public_exponent=65537, key_size=1024))


def _other_curve() -> str:
    return public_pem(ec.generate_private_key(ec.SECP384R1()))


def _private() -> str:
    return KEYS["RS256"].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (_short_rsa, "RS256"),
        (_other_curve, "ES256"),
        (_private, "RS256"),
        (lambda: "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "RS256"),
    ],
)
def test_an_unfit_key_is_refused_when_it_is_read(make: Callable[[], str], algorithm: str) -> None:
    """Too short, on another curve, private, or no key at all."""
    with pytest.raises(ValueError, match="not a "):
        PemKeySource(make(), algorithm)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """An operator's mistake is not hidden behind a rejection."""
    with pytest.raises(FileNotFoundError):
        PemKeySource(str(tmp_path / "missing.pem"), "RS256")


@pytest.mark.parametrize("secret", ["", "x" * 31, b"x" * 31, public_pem(KEYS["RS256"])])
def test_a_weak_or_mistaken_secret_is_refused(secret: str | bytes) -> None:
    """Contract: "no or weak secret (< 32 bytes)"; and a public key is nobody's secret."""
    with pytest.raises(ValueError, match="HS256 secret"):
        SecretKeySource(secret)


async def test_a_single_key_serves_every_kid_and_has_nothing_to_learn() -> None:
    """The same key object each time, before and after a refresh."""
    sources = SecretKeySource("s" * 32), PemKeySource(public_pem(KEYS["EdDSA"]), "EdDSA")
    for source in sources:
        key = source.find("some")
        await source.refresh("other")
        assert source.find("other") is source.find(None) is key
