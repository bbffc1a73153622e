"""How the server starts, is told what to do, and stops."""

import asyncio
import json
import os
import plistlib
import re
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgpack
import numpy as np
import pytest
from serving import FRAME, Served, receive, rest, send, until

from dsm_mlx import BusyError
from dsm_mlx.cli import serve_args
from dsm_mlx.cli.serve import main
from dsm_mlx.serve.models import Slots
from dsm_mlx.serve.options import Limits, ServerOptions
from dsm_mlx.serve.run import with_key

ASR, TTS = "/api/asr-streaming", "/api/tts_streaming"
KEY = "a-secret-key"


@pytest.fixture(scope="module")
def models(small):
    return {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}


def test_stopping_tells_those_at_work(models):
    """A listener gets the words of what was sent, a speaker the sound. And all of them are told
    that they are in before a stream is open."""
    with (
        Served(**models, slow=1.0) as served,
        served.connect(ASR) as listener,
        served.connect(f"{TTS}?format=PcmMessagePack") as speaker,
        served.connect(f"{TTS}?format=PcmMessagePack") as silent,
    ):
        began = time.monotonic()
        assert receive(listener) == receive(silent) == {"type": "Ready"}
        assert time.monotonic() - began < 0.5
        noise = np.random.default_rng(0).normal(0, 0.1, 20 * FRAME)
        send(listener, type="Audio", pcm=noise.tolist())
        send(speaker, type="Text", text="one two three four five six seven eight nine ten")
        until(speaker, "Audio")
        until(listener, "Word")
        served.process.send_signal(signal.SIGTERM)
        assert until(listener, "Error")[-1]["message"] == "the server is stopping"
        assert list(rest(listener)) == [] and listener.close_code == 1005
        found = [msgpack.unpackb(data) for data in rest(speaker)]
        assert [m["text"] for m in found if m["type"] == "Text"][-1] == "ten"
        assert speaker.close_code == 1005
        assert list(rest(silent)) == []
        assert served.process.wait(20) == 0


@pytest.mark.thorough
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_does_not_end_is_closed_and_a_second_signal_waits_for_nobody(models, number):
    limits = {"drain": 60.0, "stalled": 60.0}
    with Served(**models, limits=limits) as served, socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", served.port))
        raw.sendall(
            f"POST {TTS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5040\r\n\r\n".encode()
            + json.dumps({"text": "word " * 1003, "voice": ""}).encode()
        )
        assert raw.recv(12) == b"HTTP/1.1 200"
        served.process.send_signal(number)
        with pytest.raises(subprocess.TimeoutExpired):
            served.process.wait(1)
        served.process.send_signal(number)
        assert served.process.wait(10) == 130


def command(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "dsm_mlx.serve", *arguments],
        capture_output=True, text=True, timeout=120, **options,
    )  # fmt: skip


def test_an_address_that_is_taken_is_told_before_models_are_loaded(capfd):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert main(["--port", str(port), "--stt", "/no/such/folder"]) == 1
    out, err = capfd.readouterr()
    assert out == "" and err.count("\n") == 1 and f"port {port}" in err


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["--stt", "none", "--tts", "none"], 2, "nothing to serve"),
        (["--port", "70000"], 2, "65535"),
        (["--max-streams", "0"], 2, "from 1 up"),
        (["--api-key", "two words"], 1, "a key"),
        (["--allow-origin", "*"], 1, "origin is '*'"),
        (["--host", "no.such.host.invalid"], 1, "no.such.host.invalid"),
        (["--stt", "/no/such/folder", "--port", "0"], 1, "/no/such/folder"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, status, told, capfd):
    try:
        assert main(arguments) == status
    except SystemExit as usage:
        assert usage.code == status
    err = capfd.readouterr().err
    assert told in err.splitlines()[-1]


@pytest.mark.thorough
def test_the_check_speaks_and_hears(models):
    done = command("--check", "--port", "0", "--api-key", KEY)
    assert done.returncode == 0 and done.stdout == ""
    assert "check: passed" in done.stderr and KEY not in done.stderr
    # a model that babbles is not understood
    done = command("--check", "--port", "0", "--stt", models["stt"], "--tts", models["tts"])
    assert done.returncode == 1 and "check: failed" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        {"port": -1}, {"port": 65536}, {"port": "1"}, {"host": ""}, {"keys": ("",)},
        {"keys": ("a b",)}, {"keys": ("ä",)}, {"origins": ("example.com",)},
        {"origins": ("https://example.com/path",)}, {"origins": ("http://[",)},
        {"keys": "a-key"}, {"origins": None}, {"unix_socket": 7}, {"limits": {}},
    ],
)  # fmt: skip
def test_options_are_checked(options):
    with pytest.raises((ValueError, TypeError), match=r"port|host|key|origin|socket|limits"):
        ServerOptions(**options)


def test_limits_are_checked():
    for wrong in (-1, "1", True, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="idle"):
            Limits(idle=wrong)


def test_slots_are_given_in_the_order_of_asking():
    class Handle:
        name, max_streams = "a model", 1

    async def play():
        slots, order = Slots(Handle()), []

        async def come(number):
            with await slots.wait(5):
                order.append(number)
                await asyncio.sleep(0.01)

        with slots.take():
            with pytest.raises(BusyError):
                slots.take()
            with pytest.raises(BusyError):
                await slots.wait(0.01)
            coming = [asyncio.ensure_future(come(i)) for i in range(4)]
            await asyncio.sleep(0.01)
            coming[1].cancel()
        await asyncio.gather(*coming, return_exceptions=True)
        return order, slots.used

    assert asyncio.run(play()) == ([0, 2, 3], 0)


def test_a_key_is_made_up_where_others_can_come():
    options, made = with_key(ServerOptions(host="0.0.0.0"))
    assert made and len(options.keys[0]) >= 24
    assert options.keys != with_key(ServerOptions(host="0.0.0.0"))[0].keys
    assert "keys" not in repr(options) and options.keys[0] not in repr(options)
    for private in (
        ServerOptions(),
        ServerOptions(host="localhost"),
        ServerOptions(host="::1"),
        ServerOptions(host="0.0.0.0", unix_socket="/tmp/s"),
    ):
        assert with_key(private) == (private, False)
    given = ServerOptions(host="0.0.0.0", keys=("k",))
    assert with_key(given) == (given, False)


def test_a_socket_of_the_file_system_is_its_owners_alone(models):
    folder = tempfile.mkdtemp()  # short: such paths have at most 100 bytes
    path = os.path.join(folder, "socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as left_behind:
        left_behind.bind(path)
    with Served(**models, unix_socket=path) as served:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as raw:
            raw.connect(path)
            raw.sendall(b"GET /health HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n")
            assert raw.recv(4096).startswith(b"HTTP/1.1 200")
        assert served.stop() == 0
    assert not os.path.exists(path)


def test_the_units_of_docs_start_what_there_is():
    folder = Path(__file__).parent.parent / "docs/service"
    with open(folder / "com.example.dsm-serve.plist", "rb") as file:
        plist = plistlib.load(file)
    unit = (folder / "dsm-serve.service").read_text()
    line = re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1]
    stop = int(re.search(r"^TimeoutStopSec=(\d+)$", unit, re.MULTILINE)[1])
    assert Limits().drain < stop == plist["ExitTimeOut"]
    for program, *arguments in (plist["ProgramArguments"], line.split()):
        assert program.endswith("/bin/dsm-serve")
        assert serve_args.parse(arguments).stt == "stt-1b"
