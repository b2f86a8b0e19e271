"""An HTTP server that says what a test wrote down, answer by answer, and keeps what it was asked.

It sends bytes as they are and then closes, so it can break off wherever a real server may die.
"""

import json
import socketserver
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus


@dataclass(frozen=True)
class Asked:
    """One request. Names of headers are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedServer:
    """``url`` is where it listens; ``asked`` grows with each request; ``answers`` that are left."""

    url: str
    answers: list[bytes]
    asked: list[Asked] = field(default_factory=list)


@contextmanager
def scripted(answers: Sequence[bytes]) -> Iterator[ScriptedServer]:
    """A server on a free port of 127.0.0.1. A request beyond the answers is closed without one."""

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            script.asked.append(self._read())
            if script.answers:
                self.wfile.write(script.answers.pop(0))

        def _read(self) -> Asked:
            method, path, _ = self.rfile.readline().decode().split(" ")
            lines = iter(lambda: self.rfile.readline().decode().strip(), "")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return Asked(method, path, headers, self.rfile.read(int(headers.get("content-length", "0"))))

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        script = ScriptedServer(f"http://127.0.0.1:{server.server_address[1]}", list(answers))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield script
        finally:
            server.shutdown()
            thread.join()


def answer(status: int, body: object = None, media_type: str = "application/json") -> bytes:
    """A whole answer; ``body`` is any JSON value, None for no body."""
    content = b"" if body is None else json.dumps(body).encode()
    return _head(status, f"Content-Type: {media_type}", f"Content-Length: {len(content)}") + content


def problem(status: int, code: str, **members: object) -> bytes:
    """An error as the contract has it (section 3)."""
    title = HTTPStatus(status).phrase
    body = {"type": "urn:x", "title": title, "status": status, "code": code, "requestId": "r-1", **members}
    return answer(status, body, "application/problem+json")


def stream(*events: bytes) -> bytes:
    """An event stream that breaks off after these bytes."""
    return _head(200, "Content-Type: text/event-stream") + b"".join(events)


def job_event(event_id: str, kind: str, **members: object) -> bytes:
    """One event of a job's stream (contract, section 5)."""
    status = {"completed": "succeeded", "failed": "failed", "cancelled": "cancelled"}.get(kind, "running")
    line = {"jobId": "j-1", "type": kind, "status": status, "stage": None, "progress": 0.5, "attempt": 1}
    data = json.dumps({**line, "message": None, "timestamp": "2026-01-31T12:00:00.000Z", **members})
    return f"id: {event_id}\ndata: {data}\n\n".encode()


def _head(status: int, *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Connection: close", *headers, "", ""]
    return "\r\n".join(lines).encode()
