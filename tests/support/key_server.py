"""An issuer: a real HTTP server that serves a key set, and signs tokens with keys that it may rotate."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from tidings.domain.ids import new_id


class KeyServer:
    """``document`` and ``status`` are what it answers, ``asked`` how often it was asked."""

    def __init__(self) -> None:
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.document = b'{"keys": []}'
        self.status = 200
        self.headers: Mapping[str, str] = {}
        self.asked = 0
        self.url = ""

    def rotate(self, *kids: str) -> None:
        """Serve the keys of these ids alone, new ones made."""
        self.keys = {kid: self.keys.get(kid) or ec.generate_private_key(ec.SECP256R1()) for kid in kids}
        self.document = json.dumps({"keys": [public(kid, key) for kid, key in self.keys.items()]}).encode()

    def token(self, subject: str, kid: str, **claims: object) -> str:
        """A good token, signed with that key; ``claims`` beside its own."""
        said = {"sub": subject, "exp": int(time.time()) + 3600, "jti": new_id(), **claims}
        return jwt.encode(said, self.keys[kid], "ES256", headers={"kid": kid})


def public(kid: str, key: ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    """The public half as a JWK."""
    jwk: dict[str, Any] = json.loads(ECAlgorithm.to_jwk(key.public_key()))
    return {**jwk, "kid": kid, "use": "sig", "alg": "ES256"}


@contextmanager
def serving() -> Iterator[KeyServer]:
    """Serve for the time of the block."""
    issuer = KeyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            issuer.asked += 1
            self.send_response(issuer.status)
            for name, value in issuer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(issuer.document)))
            self.end_headers()
            self.wfile.write(issuer.document)

        def log_message(self, *_: object) -> None:
            """Not to the terminal of the tests."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer.url = f"http://127.0.0.1:{server.server_port}/keys"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
