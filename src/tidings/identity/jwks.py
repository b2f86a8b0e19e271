"""A key set (RFC 7517) that is fetched from an issuer again and again, so that its keys may rotate.

It is fetched on a timer, and early for a token that names an unknown key, at most once in ``ASK_SECONDS`` however
many there are. From where, and under which algorithm, is the operator's to say and never a token's. While the
issuer cannot be reached, what was known is trusted for a day. Nothing here decides about tokens, and the fetching
itself is ``jwks_http``'s.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

import structlog
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import InvalidKeyError, PyJWK, PyJWKError

from tidings import metrics
from tidings.domain import strictjson
from tidings.identity.keys import Verify, verify_with

MAX_KEYS: Final = 100
EVERY_SECONDS: Final = 45.0
"""With the time that a fetch may take, a new key is honoured, and a withdrawn one refused, within 60 s."""
RETRY_SECONDS: Final = 5.0
ASK_SECONDS: Final = 30.0
TRUST_SECONDS: Final = 24 * 3600.0

_KEY_TYPES: Final = MappingProxyType({"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP"})
_PRIVATE: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_log = structlog.stdlib.get_logger("tidings.keys")


class FetchFailed(Exception):
    """The key set could not be had, or is none."""


class Fetch(Protocol):
    """Where the document comes from."""

    async def get(self) -> bytes:
        """The document as it is now. Raises ``FetchFailed``."""

    async def close(self) -> None:
        """It is asked no more."""


@dataclass(frozen=True, slots=True)
class Key:
    """``material`` is the public key itself (DER), by which it is known again in the next set."""

    material: bytes
    verify: Verify


Keys = dict[str | None, Key]


class JwksKeySource:
    """The keys of one issuer. ``run`` has to run."""

    def __init__(self, fetch: Fetch, algorithm: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        """``algorithm`` is RS256, ES256 or EdDSA; ``clock`` gives seconds and never goes back."""
        self._fetch = fetch
        self._algorithm = algorithm
        self._clock = clock
        self._keys: Keys = {}
        self._learned = self._asked = float("-inf")
        self._fetching = asyncio.Lock()

    def find(self, kid: str | None) -> Verify | None:
        """The key of this id; without an id, the only one there is. None too when what is known is too old."""
        if self._clock() >= self._learned + TRUST_SECONDS:
            return None
        if kid is None and len(self._keys) == 1:
            return next(iter(self._keys.values())).verify
        key = self._keys.get(kid) if kid is not None else None
        return None if key is None else key.verify

    async def refresh(self, kid: str | None) -> None:
        """Fetch for a key that is not known, unless that was done for another a moment ago.

        Who comes while a fetch is under way waits for it.
        """
        async with self._fetching:
            if self.find(kid) is None and self._clock() >= self._asked + ASK_SECONDS:
                self._asked = self._clock()
                await self._learn()

    async def run(self) -> None:
        """Fetch until cancelled."""
        try:
            while True:
                async with self._fetching:
                    learned = await self._learn()
                await asyncio.sleep(EVERY_SECONDS if learned else RETRY_SECONDS)
        finally:
            await self._fetch.close()

    async def _learn(self) -> bool:
        try:
            found = read_keys(await self._fetch.get(), self._algorithm)
        except FetchFailed as fault:
            metrics.key_fetches.labels("failure").inc()
            _log.warning("the key set could not be fetched", reason=str(fault), known=len(self._keys))
            return False
        metrics.key_fetches.labels("success").inc()
        self._keys = {kid: self._same(kid, key) for kid, key in found.items()}
        self._learned = self._clock()
        return True

    def _same(self, kid: str | None, key: Key) -> Key:
        """The key as it is known already, so that what was verified with it stays verified."""
        known = self._keys.get(kid)
        return known if known is not None and known.material == key.material else key


def read_keys(document: bytes, algorithm: str) -> Keys:
    """The keys of a set that sign under this algorithm. Others in it are not ours to judge and are left out.

    So are private keys, keys of an id that came before, and those that are too short.

    Raises:
        FetchFailed: it is no key set.
    """
    try:
        loaded = strictjson.loads(document)
    except strictjson.MalformedJson as fault:
        raise FetchFailed(str(fault)) from None
    listed = loaded.get("keys") if isinstance(loaded, dict) else None
    if not isinstance(listed, list) or len(listed) > MAX_KEYS:
        raise FetchFailed("no key set")
    found: Keys = {}
    for jwk in listed:
        key = _key(jwk, algorithm) if _fits(jwk, algorithm) else None
        if key is not None:
            found.setdefault(jwk.get("kid"), key)
    return found


def _fits(jwk: Any, algorithm: str) -> bool:
    """Whether it is a public key for signatures of this kind (RFC 7517, section 4)."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str | None):
        return False
    if jwk.get("kty") != _KEY_TYPES[algorithm] or jwk.get("alg", algorithm) != algorithm:
        return False
    operations = jwk.get("key_ops", ["verify"])
    meant = jwk.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    return meant and not _PRIVATE & jwk.keys()


def _key(jwk: dict[str, Any], algorithm: str) -> Key | None:
    try:
        public = PyJWK(jwk, algorithm).key
        material = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return Key(material, verify_with(algorithm, public))
    except (InvalidKeyError, PyJWKError, ValueError, TypeError, KeyError, AttributeError) as fault:
        _log.warning("a key of the key set is left out", kid=jwk.get("kid"), reason=str(fault))
        return None
