"""What the connect benchmark measures of a server, and how it is shown."""

from dataclasses import dataclass

from bench.harness.report import Row


@dataclass(frozen=True, slots=True)
class Figures:
    """What one trial gives.

    ``cpu_ms`` is the processor time of the server for each handshake; ``client_share`` the clients' share of
    their core meanwhile, in percent: well below 100, they are not what limits the rate. ``polling_cost`` is
    how many times the memory of a WebSocket client a polling one takes; None where that was too little to see.
    """

    websocket_handshakes_per_second: float
    websocket_cpu_ms: float
    websocket_client_share: float
    upgrade_handshakes_per_second: float
    upgrade_cpu_ms: float
    upgrade_client_share: float
    websocket_bytes: float
    polling_bytes: float
    upgraded_bytes: float
    polling_cost: float | None


ROWS = (
    Row("websocket_handshakes_per_second", "handshakes/s, WebSocket", ",.0f", higher_is_better=True),
    Row("websocket_cpu_ms", "  server CPU each, ms", ",.3f", higher_is_better=False),
    Row("websocket_client_share", "  clients' share of their core, %", ",.0f", higher_is_better=None),
    Row("upgrade_handshakes_per_second", "handshakes/s, polling + upgrade", ",.0f", higher_is_better=True),
    Row("upgrade_cpu_ms", "  server CPU each, ms", ",.3f", higher_is_better=False),
    Row("upgrade_client_share", "  clients' share of their core, %", ",.0f", higher_is_better=None),
    Row("websocket_bytes", "memory per idle client, WebSocket, bytes", ",.0f", higher_is_better=False),
    Row("polling_bytes", "memory per idle client, polling, bytes", ",.0f", higher_is_better=False),
    Row("upgraded_bytes", "memory per idle client, upgraded, bytes", ",.0f", higher_is_better=False),
    Row("polling_cost", "memory, polling over WebSocket", ",.2f", higher_is_better=False),
)
