"""What a network is told of the Wyoming port: a browser as Home Assistant has one, on loopback."""

import asyncio
import signal
import socket
import threading
from contextlib import contextmanager

import pytest
from commands import SERVE, run
from serving import SECONDS, Served

pytest.importorskip("zeroconf", reason="zeroconf is not installed: pip install '.[zeroconf]'")

from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

from dsm_mlx.serve.options import ServerOptions
from dsm_mlx.serve.wyoming import discovery
from dsm_mlx.serve.wyoming.discovery import TYPE, Discovery

HOST = "127.0.0.1"


class Listener(ServiceListener):
    """What is on the network now, by name, and a way to wait for a change."""

    def __init__(self):
        self.found, self._changed = {}, threading.Condition()

    def add_service(self, zc, type_, name):
        info = zc.get_service_info(type_, name, timeout=SECONDS * 1000)
        with self._changed:
            self.found[name.removesuffix(f".{TYPE}")] = info
            self._changed.notify_all()

    def update_service(self, zc, type_, name):
        pass

    def remove_service(self, zc, type_, name):
        with self._changed:
            self.found.pop(name.removesuffix(f".{TYPE}"))
            self._changed.notify_all()

    def until(self, *names):
        with self._changed:
            assert self._changed.wait_for(lambda: set(self.found) == set(names), SECONDS), (
                self.found
            )


@contextmanager
def browsing():
    network, listener = Zeroconf(interfaces=[HOST]), Listener()
    try:
        ServiceBrowser(network, TYPE, listener)
        yield listener
    finally:
        network.close()


def served(small, name, **settings):
    place = {"wyoming_host": HOST, "wyoming_port": 0, "zeroconf": name}
    return Served(**{"stt": str(small("stt-tiny")), **place, **settings})


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_is_found_and_forgotten(small, number):
    with browsing() as network, served(small, "a kitchen") as server:
        network.until("a kitchen")
        info = network.found["a kitchen"]
        assert (info.port, info.parsed_addresses()) == (server.wyoming, [HOST])
        assert any("found as        a kitchen" in line for line in server.told)
        with socket.create_connection((HOST, info.port), SECONDS) as client:
            client.sendall(b'{"type": "describe"}\n')
            assert b'"type": "info"' in client.recv(1 << 16)
        assert server.stop(number) == 0
        network.until()


@pytest.mark.thorough
@pytest.mark.alone
def test_two_of_one_name():
    """The second takes one like it, and tells so."""

    async def test():
        with socket.create_server((HOST, 0)) as first, socket.create_server((HOST, 0)) as second:
            both = [Discovery("kitchen", [bound]) for bound in (first, second)]
            try:
                for found in both:
                    await found.start()
                return [found.told for found in both]
            finally:
                for found in both:
                    found.close()
                    await found.end()

    assert asyncio.run(test()) == ["kitchen", "kitchen-2"]


@pytest.mark.parametrize("reason", ["no multicast here", ""])
def test_a_network_that_cannot_be_told_is_no_reason_not_to_serve(monkeypatch, caplog, reason):
    def no_network(**_):
        raise OSError(reason)

    monkeypatch.setattr(discovery, "AsyncZeroconf", no_network)

    async def test():
        with socket.create_server((HOST, 0)) as bound:
            found = Discovery("kitchen", [bound])
            await found.start()
            found.close()
            await found.end()
            return found.told

    assert asyncio.run(test()) == f"not on this network: {reason or 'OSError'}"
    assert "not on this network" in caplog.text


def test_a_wildcard_is_told_as_the_address_that_others_reach():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("224.0.0.251", 5353))
        except OSError:
            pytest.skip("this machine has no network")
        own = asking.getsockname()[0]
    assert discovery._reachable("0.0.0.0") == own and discovery._reachable(HOST) == HOST


def test_options():
    with pytest.raises(ValueError, match="zeroconf tells of Wyoming's port, and there is none"):
        ServerOptions(zeroconf="kitchen")
    for name in ("", "x" * 64, "é" * 32, "a\nb"):
        with pytest.raises(ValueError, match=r"zeroconf is .* bytes"):
            ServerOptions(wyoming_port=0, zeroconf=name)
    with pytest.raises(TypeError, match="zeroconf is 1"):
        ServerOptions(wyoming_port=0, zeroconf=1)
    status, _, said = run(SERVE, "--zeroconf")
    assert status == 2 and "needs --wyoming" in said
