"""A bucket on a real HTTP server that speaks S3: moto's, on a port of its own."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from moto.server import ThreadedMotoServer

NAME, REGION = "tidings-test", "eu-central-1"


@contextmanager
def bucket() -> Iterator[str]:
    """The endpoint of a server with an empty bucket ``NAME``; credentials are in the environment."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test-access-key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret-key")
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        try:
            host, port = server.get_host_and_port()
            endpoint = f"http://{host}:{port}"
            # moto asks no signature of it.
            httpx.put(f"{endpoint}/{NAME}", timeout=60).raise_for_status()  # its first answer takes a while
            yield endpoint
        finally:
            server.stop()
