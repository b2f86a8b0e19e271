"""Who hands jobs in: plain HTTP over one connection that stays open, as little in the way as possible. Blocking."""

import contextlib
import json
import time
from http.client import HTTPConnection, HTTPResponse

from bench.harness.process import BenchmarkError

_SECONDS = 30.0


class Client:
    """A user of the server on a port of 127.0.0.1."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._connection = HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def close(self) -> None:
        self._connection.close()

    def reconnect(self) -> None:
        """Begin anew: the server closes what was silent for long."""
        self.close()
        self._connection.connect()

    def submit(self, kind: str, payload: dict[str, int]) -> tuple[str, int]:
        """The id of a new job and when its request was sent (CLOCK_MONOTONIC in nanoseconds), or BenchmarkError."""
        body = json.dumps({"kind": kind, "payload": payload}).encode()
        head = {**self._headers, "Host": "127.0.0.1", "Content-Length": str(len(body))}
        lines = ["POST /jobs HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        request = "\r\n".join(lines).encode() + body
        moment = time.monotonic_ns()
        self._connection.sock.sendall(request)
        with HTTPResponse(self._connection.sock, method="POST") as response:
            response.begin()
            said = response.read()
        if response.status != 202:
            raise BenchmarkError(f"POST /jobs was answered {response.status}: {said.decode()}")
        return str(json.loads(said)["id"]), moment

    def paced(self, kind: str, count: int, interval: float) -> dict[str, int]:
        """Hand in so many jobs, one every ``interval`` seconds: when the first byte of each was sent, by job.

        CLOCK_MONOTONIC in nanoseconds.
        """
        self.reconnect()
        sent = {}
        began = time.monotonic()
        for number in range(count):
            time.sleep(max(0.0, began + number * interval - time.monotonic()))
            job_id, moment = self.submit(kind, {})
            sent[job_id] = moment
        return sent

    def delays(self, kind: str, payload: dict[str, int]) -> list[float]:
        """Hand in a job whose reports say when they were made, and follow its stream to the end.

        In milliseconds, of each report.
        """
        self.reconnect()
        job_id, _ = self.submit(kind, payload)
        with contextlib.closing(HTTPConnection("127.0.0.1", self._port, timeout=_SECONDS)) as stream:
            stream.request("GET", f"/jobs/{job_id}/events", headers=self._headers)
            with stream.getresponse() as response:
                return _read(response)


def _read(stream: HTTPResponse) -> list[float]:
    delays = []
    for line in stream:
        moment = time.monotonic_ns()
        if line.startswith(b"data: "):
            event = json.loads(line[6:])
            if event["type"] == "progress":
                delays.append((moment - int(event["message"])) / 1e6)
    return delays
