"""A server from its start to its end."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

import dsm_mlx
from dsm_mlx import ModelInfo
from dsm_mlx.messages import say
from dsm_mlx.serve.app import application
from dsm_mlx.serve.models import Models
from dsm_mlx.serve.options import ServerOptions
from dsm_mlx.serve.server import Beside, Server, bind, bind_at, places, urls
from dsm_mlx.serve.state import State

if TYPE_CHECKING:
    from dsm_mlx.serve.wyoming.discovery import Discovery

Load = Callable[[], Models]
Check = Callable[[State, socket.socket], Awaitable[int]]


def serve(options: ServerOptions, load: Load, check: Check | None = None) -> int:
    """Load, warm up, listen, and serve until a signal; the exit status.

    load: makes the models; it is called when it is known that the address is free. check: called
    with a socket of the server's address when it accepts; then it stops, and this is the status.

    Raises what `load` raises, OSError for an address that cannot be had, and ValueError.
    """
    options, made = with_key(options)
    with ExitStack() as stack:
        sockets = bind(options)
        if options.unix_socket:
            stack.callback(os.unlink, options.unix_socket)
        wyoming: list[socket.socket] = []
        for bound in sockets:
            stack.enter_context(bound)
        if options.wyoming_port is not None:
            hint = "--wyoming chooses another address"
            wyoming = bind_at(options.wyoming_host, options.wyoming_port, hint)
            for bound in wyoming:
                stack.enter_context(bound)
        models = load()
        stack.callback(models.close)
        models.warm_up()
        return _run(State(options, models), sockets, wyoming, made, check)


def with_key(options: ServerOptions) -> tuple[ServerOptions, bool]:
    """The options, with a key made up where others can come and there is none; whether it is."""
    if options.exposed and not options.keys:
        return replace(options, keys=(secrets.token_urlsafe(24),)), True
    return options, False


def _run(
    state: State,
    sockets: list[socket.socket],
    wyoming: list[socket.socket],
    made: bool,
    check: Check | None,
) -> int:
    found = urls(state.options, sockets)
    status = 0

    async def checked(check: Check) -> None:
        nonlocal status
        try:
            status = await check(state, sockets[0])
        finally:
            server.should_exit = True

    def ready() -> None:
        for line in greeting(state, found, places(wyoming), made, discovery):
            say(line)
        if check:
            checking.append(asyncio.ensure_future(checked(check)))

    checking: list[asyncio.Future[None]] = []
    beside: list[Beside] = []
    discovery = None
    if wyoming:  # of packages that may be missing
        from dsm_mlx.serve.wyoming.server import WyomingServer

        beside.append(WyomingServer(state, wyoming))
    if state.options.zeroconf is not None:
        from dsm_mlx.serve.wyoming.discovery import Discovery

        discovery = Discovery(state.options.zeroconf, wyoming)
        beside.append(discovery)
    server = Server(application(state), state.options, state.sessions, ready, beside)
    server.run(sockets)
    for done in checking:
        if not done.cancelled() and (error := done.exception()):
            raise error
    return 130 if server.force_exit else status


def greeting(
    state: State,
    addresses: list[str],
    wyoming: list[str],
    made: bool,
    discovery: Discovery | None = None,
) -> list[str]:
    """What is told at the start: models, memory, addresses, and whether a key is needed."""
    options, models = state.options, state.models
    lines = [f"dsm-serve {dsm_mlx.__version__}"]
    for model in models.loaded:
        what = "speech to text" if model.info.kind == "stt" else "text to speech"
        lines.append(f"  {what}  {_described(model.info)}, {_streams(model.max_streams)}")
    if models.answerers:
        names = ", ".join(answerer.name for answerer in models.answerers)
        lines.append(f"  conversations   {names}")
    total = sum(model.info.bytes for model in models.loaded)
    lines.append(f"  memory          {_megabytes(total)} of weights")
    lines += [f"  listening       {address}" for address in addresses]
    lines += [f"  wyoming         tcp://{place}" for place in wyoming]
    if discovery is not None:
        lines.append(f"  found as        {discovery.told}")
    if made:
        lines.append(f"  key             {options.keys[0]} (made up for this run; --api-key)")
    elif options.keys:
        lines.append("  key             the one given")
    else:
        lines.append("  key             none needed: only this machine's users can come")
    if options.wyoming_exposed:
        lines.append("  warning         Wyoming knows no keys: whoever reaches its port may come")
    return [*lines, "  Ctrl-C stops"]


def _described(info: ModelInfo) -> str:
    bits = f" in {info.bits} bits" if info.bits else ""
    return f"{info.name} ({info.parameters / 1e6:,.0f} M parameters{bits})"


def _streams(count: int) -> str:
    return "1 stream" if count == 1 else f"{count} streams"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
