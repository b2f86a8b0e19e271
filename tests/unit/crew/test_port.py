"""Metrics on a port of their own."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client import CollectorRegistry, Gauge
from pydantic import SecretStr

from tests.support.processes import free_port
from tidings.crew import port as crew_port
from tidings.crew.port import on_port

LOCAL = "127.0.0.1"


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Gauge("leaves", "Leaves", registry=made).set(3)
    return made


@pytest.fixture
def port(registry: CollectorRegistry) -> Iterator[int]:
    free = free_port()
    with on_port(LOCAL, free, registry, None):
        yield free


def ask(port: int, path: str, **headers: str) -> httpx.Response:
    return httpx.get(f"http://{LOCAL}:{port}{path}", headers=headers, trust_env=False)


def test_a_port_of_its_own(registry: CollectorRegistry) -> None:
    """It is there for the time of the block."""
    port = free_port()
    with on_port(LOCAL, port, registry, None):
        assert "leaves 3.0" in ask(port, "/metrics").text
        assert "leaves 3.0" in ask(port, "/").text
    with socket.create_server((LOCAL, port)):
        pass


def test_it_says_nothing_of_itself(port: int) -> None:
    """Contract, section 3: "No header names the software beneath"; and what was sent is not repeated."""
    for path in ("/metrics", "/nothing"):
        assert "server" not in ask(port, path).headers
    for said in (b"PUT /secret HTTP/1.1\r\n\r\n", b"se cret\r\n\r\n", b"GET / HTTP/9.secret\r\n\r\n"):
        answer = talk(port, said)
        assert answer.startswith(b"HTTP/1.0 "), answer
        for word in (b"cret", b"erver", b"ython"):
            assert word not in answer


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "/x/metrics", "/metrics%00"])
def test_there_is_nothing_else(port: int, path: str) -> None:
    """Another path is 404."""
    assert ask(port, path).status_code == 404


def test_a_token_is_asked_for(registry: CollectorRegistry) -> None:
    """Contract, section 11: "The metrics token is a Bearer token; without it 404"."""
    port = free_port()
    with on_port(LOCAL, port, registry, SecretStr("open sesame")):
        assert ask(port, "/metrics", Authorization="Bearer open sesame").status_code == 200
        for wrong in ("Bearer open", "Basic open sesame", "open sesame", "Bearer", "Bearer open sesame!"):
            assert ask(port, "/metrics", Authorization=wrong).status_code == 404
        assert ask(port, "/metrics").status_code == 404


def test_who_dawdles_is_cut(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole connection has one deadline, and nobody else waits for it."""
    monkeypatch.setattr(crew_port, "CONNECTION_SECONDS", 0.2)
    port = free_port()
    with on_port(LOCAL, port, registry, None):
        assert talk(port, b"GET /metr") == b""
        monkeypatch.setattr(crew_port, "CONNECTION_SECONDS", 60)
        assert ask(port, "/metrics").status_code == 200


def test_so_many_at_once(port: int) -> None:
    """One more is closed unanswered; who leaves makes room."""
    held = [socket.create_connection((LOCAL, port)) for _ in range(crew_port.CONNECTIONS)]
    try:
        # Connections are taken in the order in which they came.
        assert talk(port, b"GET / HTTP/1.0\r\n\r\n") == b""
    finally:
        for connection in held:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert said(connection).startswith(b"HTTP/1.0 200 ")
            connection.close()


def talk(port: int, saying: bytes) -> bytes:
    with socket.create_connection((LOCAL, port), timeout=5) as connection:
        connection.sendall(saying)
        return said(connection)


def said(connection: socket.socket) -> bytes:
    """All that is said until the end, which may be a reset."""
    parts: list[bytes] = []
    try:
        while part := connection.recv(65_536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)
