"""Metrics on a port of their own (``TIDINGS_METRICS_PORT``): plain HTTP/1.0 on threads, so that a process whose
event loop is stuck can still tell how it is.

Whoever can reach the port could keep it busy: connections are few, short and say one thing each.
"""

import contextlib
import hmac
import socket
import socketserver
import sys
import threading
from collections.abc import Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import SecretStr

from tidings.domain.problem import SECURITY_HEADERS

CONNECTIONS = 16
"""At once; what comes beyond is closed unanswered."""
CONNECTION_SECONDS = 10.0
"""From its first byte to its last one; then it is cut."""

_PATHS = ("/", "/metrics")

_log = structlog.stdlib.get_logger("tidings.metrics")


@contextlib.contextmanager
def on_port(host: str, port: int, registry: CollectorRegistry, token: SecretStr | None) -> Iterator[None]:
    """A port that serves these metrics and nothing else, to who brings the token if there is one.

    Raises:
        OSError: the address cannot be had.
    """
    server = _Server(host, port, registry, None if token is None else token.get_secret_value())
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = CONNECTIONS

    def __init__(self, host: str, port: int, registry: CollectorRegistry, token: str | None) -> None:
        self.registry = registry
        self._token = token
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        super().__init__((host, port), _Handler)

    def admits(self, authorization: str | None) -> bool:
        if self._token is None:
            return True
        scheme, _, token = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode(errors="replace"), self._token.encode()
        )

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._free.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        # However slowly the parts come, the whole has one deadline.
        deadline = threading.Timer(CONNECTION_SECONDS, _cut, [request])
        deadline.daemon = True
        deadline.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            deadline.cancel()
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):
            _log.error("metrics cannot be told", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """Who has no token is told what who asks for another path is told."""
        if self.path.partition("?")[0] not in _PATHS or not self.server.admits(self.headers["Authorization"]):
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        self._answer(HTTPStatus.OK, generate_latest(self.server.registry), CONTENT_TYPE_LATEST)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """In the status' own words: those given here repeat what was sent, and name the software."""
        status = HTTPStatus(code)
        self._answer(status, status.phrase.encode(), "text/plain")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Who asks is nobody's business."""

    def _answer(self, status: HTTPStatus, body: bytes, media_type: str) -> None:
        self.request_version = self.protocol_version
        self.send_response_only(status)
        headers = {"Content-Type": media_type, "Content-Length": str(len(body)), "Connection": "close"}
        for name, value in {**headers, "Cache-Control": "no-store", **SECURITY_HEADERS}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def _cut(request: socket.socket) -> None:
    with contextlib.suppress(OSError):
        request.shutdown(socket.SHUT_RDWR)
