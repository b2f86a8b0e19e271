"""Where the keys that verify tokens come from. A key is no more than a function: is this the signature?

The algorithm is the operator's, from configuration. Nothing here reads a token, and nothing is fetched
because a token names an address.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import InvalidKeyError
from jwt.algorithms import get_default_algorithms

SECRET_MIN_BYTES = 32
RSA_MIN_BITS = 2048

Verify = Callable[[bytes, bytes], bool]
"""``verify(signing_input, signature)``, which never raises."""


class KeySource(Protocol):
    """The keys that are trusted now.

    ``find`` gives the same object for a key as long as the key is trusted: what was verified with a key
    that is found no more is verified again.
    """

    def find(self, kid: str | None) -> Verify | None:
        """The key of this id among those that are known; None when it is not."""

    async def refresh(self, kid: str | None) -> None:
        """A token named a key that is not known: learn about new keys, if it is time to ask again."""


class SecretKeySource:
    """One HS256 secret (RFC 7518, section 3.2), whatever ``kid`` a token carries."""

    def __init__(self, secret: str | bytes) -> None:
        """Take the secret as it is; text counts as its UTF-8.

        Raises:
            ValueError: shorter than 32 bytes, or a public key that was taken for a secret.
        """
        if len(secret if isinstance(secret, bytes) else secret.encode()) < SECRET_MIN_BYTES:
            raise ValueError(f"an HS256 secret has at least {SECRET_MIN_BYTES} bytes")
        algorithm = get_default_algorithms()["HS256"]
        try:
            key: bytes = algorithm.prepare_key(secret)
        except InvalidKeyError:
            raise ValueError("a key or certificate is no HS256 secret") from None
        self._key: Verify = lambda message, signature: algorithm.verify(message, key, signature)

    def find(self, kid: str | None) -> Verify | None:
        return self._key

    async def refresh(self, kid: str | None) -> None:
        """There is nothing to learn."""


class PemKeySource:
    """One public key for RS256, ES256 or EdDSA, whatever ``kid`` a token carries."""

    def __init__(self, pem_or_path: str, algorithm: str) -> None:
        """Read the key: PEM text, whose line breaks may be escaped as in environment files, or a file's path.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no public key for this algorithm.
        """
        if "-----BEGIN" in pem_or_path:
            pem = pem_or_path.replace("\\n", "\n").encode()
        else:
            pem = Path(pem_or_path).read_bytes()
        try:
            key = load_pem_public_key(pem)
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("not a public key in PEM") from None
        self._key = verify_with(algorithm, key)

    def find(self, kid: str | None) -> Verify | None:
        return self._key

    async def refresh(self, kid: str | None) -> None:
        """There is nothing to learn."""


def verify_with(algorithm: str, key: PublicKeyTypes) -> Verify:
    """The check of one public key under one algorithm (RFC 7518, sections 3.3 and 3.4; RFC 8037).

    Raises:
        ValueError: the key is of another kind than the algorithm needs, or too short.
    """
    fits = (
        (algorithm == "RS256" and isinstance(key, RSAPublicKey) and key.key_size >= RSA_MIN_BITS)
        or (
            algorithm == "ES256"
            and isinstance(key, EllipticCurvePublicKey)
            and isinstance(key.curve, SECP256R1)
        )
        or (algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey))
    )
    if not fits:
        raise ValueError(f"not a key for {algorithm}")
    checker = get_default_algorithms()[algorithm]
    return lambda message, signature: checker.verify(message, key, signature)
