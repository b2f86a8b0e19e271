"""Who is compared in the fan-out benchmark."""

from bench.harness.servers import TIDINGS, node_server, python_server

SERVERS = (
    TIDINGS,
    node_server("--transports", "websocket"),
    python_server("python-socketio", "bench.fanout.python_socketio_server"),
)
