"""Listening for Wyoming's clients, beside the server for all others."""

from __future__ import annotations

import asyncio
import socket

from dsm_mlx.serve.state import State
from dsm_mlx.serve.wyoming.client import Client
from dsm_mlx.serve.wyoming.events import HEADER
from dsm_mlx.serve.wyoming.info import info


class WyomingServer:
    """Accepts clients at sockets that are bound."""

    def __init__(self, state: State, sockets: list[socket.socket]):
        self._state, self._sockets = state, sockets
        self._info = info(state.models)
        self._servers: list[asyncio.AbstractServer] = []
        self._clients: set[asyncio.Task] = set()

    async def start(self) -> None:
        """Begin to accept."""
        for bound in self._sockets:
            server = await asyncio.start_server(self._meet, sock=bound, limit=HEADER)
            self._servers.append(server)

    def close(self) -> None:
        """Nobody new."""
        for server in self._servers:
            server.close()

    async def end(self) -> None:
        """Close the connections of those who are still there."""
        clients = list(self._clients)
        for client in clients:
            client.cancel()
        if clients:
            await asyncio.wait(clients)

    def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= self._state.options.limits.connections:
            writer.transport.abort()
            return
        client = Client(reader, writer, self._state, self._info)
        task = asyncio.ensure_future(client.run())
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)
