"""Who is on the other end of a wire, as far as its address and headers tell.

``X-Forwarded-For`` counts only where the last hop is a proxy one trusts (contract, section 11).
"""

import ipaddress
from collections.abc import Iterable, Sequence

from tidings.domain.audit import Peer

_SHOWN_MAX = 256
"""Bytes of a header that the log may hold."""

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, values as they came."""


def values(headers: Headers, name: bytes) -> list[str]:
    """Every value of a header. Bytes beyond ASCII are Latin-1 (RFC 9110, section 5.5)."""
    return [value.decode("latin-1") for key, value in headers if key == name]


class Peers:
    """``trusted`` are the addresses and networks of one's own proxies."""

    def __init__(self, trusted: Iterable[str]) -> None:
        self._trusted = tuple(ipaddress.ip_network(network, strict=False) for network in trusted)

    def of(self, address: str | None, headers: Headers) -> Peer:
        """The peer of a connection from ``address`` that sent ``headers``."""
        origin = agent = None
        for name, value in headers:
            if name == b"origin" and origin is None:
                origin = value[:_SHOWN_MAX].decode("latin-1")
            elif name == b"user-agent" and agent is None:
                agent = value[:_SHOWN_MAX].decode("latin-1")
        return Peer(self._client(address, headers), origin, agent)

    def _client(self, address: str | None, headers: Headers) -> str | None:
        """The nearest hop, seen from here, that is no proxy of ours."""
        if address is None or not self._trusted or not self._is_trusted(address):
            return address
        hops = [hop.strip() for line in values(headers, b"x-forwarded-for") for hop in line.split(",")]
        for hop in reversed(hops):
            try:
                ipaddress.ip_address(hop)
            except ValueError:
                return address
            if not self._is_trusted(hop):
                return hop
            address = hop
        return address

    def _is_trusted(self, address: str) -> bool:
        try:
            ip = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self._trusted)
