"""python-socketio on uvicorn, as its documentation runs it, in the fan-out benchmark."""

import asyncio
import socket
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import socketio
import uvicorn
import uvloop

from bench.harness.emitter import EVENT, Payload, Serving, drive

NAMESPACE = "/notifications"
ROOM = "everybody"


def make_server() -> socketio.AsyncServer:
    """One namespace, whose every client is in the one room. No credential is looked at."""
    server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"])

    async def join(sid: str, _environ: dict[str, Any], _auth: object) -> None:
        await server.enter_room(sid, ROOM, namespace=NAMESPACE)

    server.on("connect", handler=join, namespace=NAMESPACE)
    return server


async def main() -> None:
    server = make_server()
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        socketio.ASGIApp(server),
        http="httptools",
        ws="auto",
        ws_per_message_deflate=False,
        access_log=False,
        log_level="warning",
    )
    host = uvicorn.Server(config)

    async def publish(payloads: Sequence[Payload]) -> None:
        await asyncio.gather(
            *(server.emit(EVENT, payload, room=ROOM, namespace=NAMESPACE) for payload in payloads)
        )

    versions = f"python-socketio {version('python-socketio')}, uvicorn {version('uvicorn')}"
    serving = Serving(listening.getsockname()[1], versions, ("not-looked-at",))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(host.serve(sockets=[listening]))
        await drive(publish, serving, sys.stdout)
        host.should_exit = True


if __name__ == "__main__":
    uvloop.run(main())
