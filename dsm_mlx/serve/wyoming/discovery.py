"""Telling this network of the Wyoming port, by mDNS, so that Home Assistant finds it by itself."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Sequence
from contextlib import suppress

from zeroconf import DNSQuestionType, Error, Zeroconf
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

log = logging.getLogger("dsm_mlx")

TYPE = "_wyoming._tcp.local."
_SECONDS = 8.0  # that it may take to get a name, or to take it back
_ASKED_SECONDS = 1.5  # that whoever has a name may take to say so: it answers once a second
_ANY = ("0.0.0.0", "::")
_MULTICAST = {socket.AF_INET: "224.0.0.251", socket.AF_INET6: "2001:db8::1"}  # nothing is sent


class Discovery:
    """Begins and ends with the server. That a network cannot be told is no reason not to serve.

    told: what became of it, for people.
    """

    def __init__(self, name: str, sockets: Sequence[socket.socket]):
        """name: of the instance. sockets: where the server is, all of one port."""
        self._name, self._sockets = name, sockets
        self._zeroconf: AsyncZeroconf | None = None
        self._leaving: asyncio.Future[None] | None = None
        self.told = ""

    async def start(self) -> None:
        """Take the name, or one like it where another server has it, and answer who asks."""
        try:
            self.told = await asyncio.wait_for(self._register(), _SECONDS)
        except (OSError, Error, asyncio.TimeoutError) as error:
            reason = str(error) or type(error).__name__
            self.told = f"not on this network: {reason}"
            log.warning("zeroconf: %s", self.told)
            await self._leave()

    async def _register(self) -> str:
        bound = [found.getsockname() for found in self._sockets]
        hosts = [address[0] for address in bound]
        found = list(map(_reachable, hosts))
        # Of a server at one address, only that one's network is told.
        everywhere = any(host in _ANY for host in hosts)
        zeroconf = AsyncZeroconf() if everywhere else AsyncZeroconf(interfaces=found)
        self._zeroconf = zeroconf
        name = await _free(zeroconf.zeroconf, self._name)
        info = AsyncServiceInfo(TYPE, f"{name}.{TYPE}", port=bound[0][1], parsed_addresses=found)
        await (await zeroconf.async_register_service(info, allow_name_change=True))
        return info.name.removesuffix(f".{TYPE}")

    def close(self) -> None:
        """Say goodbye: who has found the server forgets it."""
        self._leaving = asyncio.ensure_future(self._leave())

    async def end(self) -> None:
        """Until that is said."""
        if self._leaving is not None:
            await self._leaving

    async def _leave(self) -> None:
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            with suppress(OSError, Error, asyncio.TimeoutError):
                await asyncio.wait_for(zeroconf.async_unregister_all_services(), _SECONDS)
            await zeroconf.async_close()


async def _free(zeroconf: Zeroconf, name: str) -> str:
    """`name`, or one like it that nobody has.

    Registering asks, too, but for answers to this machine alone, of which any program here that
    listens to mDNS may get the only copy; these come to all (RFC 6762, section 15.1).
    """
    tried, number = name, 1
    while True:
        full = f"{tried}.{TYPE}"
        asked = AsyncServiceInfo(TYPE, full)
        await asked.async_request(zeroconf, 1e3 * _ASKED_SECONDS, DNSQuestionType.QM)
        if not zeroconf.cache.entries_with_name(full):
            return tried
        number += 1
        tried = f"{name}-{number}"


def _reachable(host: str) -> str:
    """The address at which others find a server that listens at this one; OSError if none."""
    if host not in _ANY:
        return host
    family = socket.AF_INET if host == "0.0.0.0" else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as asking:
        asking.connect((_MULTICAST[family], 9))
        return str(asking.getsockname()[0])
