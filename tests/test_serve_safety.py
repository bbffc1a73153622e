"""Who may come to the server, how much he may ask for, and how it starts and stops."""

import asyncio
import http.client
import json
import random
import re
import socket
import time
from contextlib import ExitStack, suppress

import msgpack
import pytest
import uvicorn
from serving import Served, receive, rest, send, until
from uvicorn.server import ServerState
from websockets.exceptions import InvalidStatus
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping

from dsm_mlx.serve.inbox import MOST_WAITING
from dsm_mlx.serve.kyutai import stt
from dsm_mlx.serve.models import Models
from dsm_mlx.serve.options import ServerOptions
from dsm_mlx.serve.protocols import SocketProtocol
from dsm_mlx.serve.safety import Errors
from dsm_mlx.serve.state import State

ASR, TTS = "/api/asr-streaming", "/api/tts_streaming"
KEY, OTHER = "a-secret-key", "another-secret"
LIMITS = {
    "connections": 12, "message": 1 << 20, "body": 1 << 20, "text": 2000, "whole_text": 500,
    "request": 1.0, "idle": 2.0, "ping": 0.3, "silent": 1.5, "stalled": 1.5, "wait": 1.0,
    "drain": 5.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def models(small):
    return {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}


@pytest.fixture(scope="module")
def server(models):
    """One that wants a key, and has little patience."""
    more = {"origins": ["https://app.example"], "limits": LIMITS, "pyav": False}
    with Served(**models, keys=[KEY, OTHER], **more) as served:
        yield served
        assert served.process.poll() is None  # after all that was done to it


def ask(server, path, method="GET", body=None, key=KEY, **headers):
    """Status, headers and body of an answer. A header may be a list, to be sent more than once."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(method, path, skip_host="Host" in headers)
    if key:
        connection.putheader("kyutai-api-key", key)
    for name, value in headers.items():
        for one in value if isinstance(value, list) else [value]:
            connection.putheader(name, one)
    if body is not None:
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def refused(server, path, **options) -> int:
    """The status with which an upgrade is refused."""
    with pytest.raises(InvalidStatus) as caught, server.connect(path, **options):
        pass
    return caught.value.response.status_code


def entered(server, path=ASR, **headers):
    headers = {"kyutai-api-key": KEY} | headers
    return server.connect(path, additional_headers=headers)


def free(server, seconds=5.0):
    """All slots are free again."""
    until = time.monotonic() + seconds
    while [m["used_slots"] for m in json.loads(ask(server, "/api/modules_info")[2])] != ["0", "0"]:
        assert time.monotonic() < until
        time.sleep(0.05)


# ---- keys


def test_a_key_is_needed(server):
    for path in (ASR, TTS):
        assert refused(server, path) == 401
        assert refused(server, f"{path}?auth_id=wrong") == 401
        assert refused(server, path, additional_headers={"kyutai-api-key": KEY[:-1]}) == 401
        wrong = {"kyutai-api-key": "wrong"}  # with the header, the query does not count
        assert refused(server, f"{path}?auth_id={KEY}", additional_headers=wrong) == 401
        status, _, body = ask(server, path, "POST", b"{}", key="")
        assert (status, body) == (401, b"")
        assert ask(server, f"{path}?auth_id={KEY}", "POST", b"{}", key="")[0] == 401
    assert ask(server, "/nothing", key="")[0] == 401
    assert ask(server, "/nothing")[0] == 404


@pytest.mark.parametrize("how", ["header", "bearer", "auth_id", "token", "other"])
def test_a_key_may_be_shown_in_several_ways(server, how):
    path = f"{ASR}?{how}={KEY}" if how in ("auth_id", "token") else ASR
    headers = {
        "header": {"kyutai-api-key": KEY},
        "bearer": {"Authorization": f"Bearer {KEY}"},
        "other": {"kyutai-api-key": OTHER},
    }.get(how, {})
    with server.connect(path, additional_headers=headers) as client:
        assert receive(client) == {"type": "Ready"}


def test_what_tells_of_the_server_needs_none(server):
    for path in ("/api/health", "/api/build_info", "/api/modules_info", "/metrics", "/health"):
        assert ask(server, path, key="")[0] == 200


# ---- places


def test_pages_of_others_may_not_come(server):
    for origin in ("https://evil.example", "null", "http://127.0.0.1:1", "http://[", ""):
        assert (
            refused(server, ASR, origin=origin, additional_headers={"kyutai-api-key": KEY}) == 403
        )
        assert ask(server, ASR, "POST", b"", Origin=origin)[0] == 403
    for origin in (f"http://127.0.0.1:{server.port}", "https://app.example", None):
        with server.connect(f"{ASR}?auth_id={KEY}", origin=origin) as client:
            assert receive(client) == {"type": "Ready"}
    headers = ask(server, "/health", Origin="https://app.example")[1]
    assert headers["access-control-allow-origin"] == "https://app.example"
    preflight = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "x"}
    assert ask(server, TTS, "OPTIONS", key="", Origin="https://app.example", **preflight)[0] == 200
    assert ask(server, TTS, "OPTIONS", key="", Origin="https://evil.example", **preflight)[0] == 403


def test_names_that_somebody_points_at_us_are_refused(server):
    for host in ("evil.example", "evil.example:80", "192.0.2.1", "localhost.evil.example", "[", ""):
        assert ask(server, "/health", Host=host)[0] == 403, host
    assert ask(server, "/health", Host=["localhost", "evil.example"])[0] in (400, 403)
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", f"[::1]:{server.port}", "app.example"):
        assert ask(server, "/health", Host=host)[0] == 200, host


# ---- how much


def test_messages_bodies_and_texts_have_a_size(server):
    with entered(server) as client:
        client.send(bytes((1 << 20) + 1))
        list(rest(client))
        assert client.close_code == 1009
    status, _, body = ask(server, ASR, "POST", bytes((1 << 20) + 1))
    assert status == 413 and b"1048576" in body
    with entered(server, f"{TTS}?format=PcmMessagePack") as client:
        client.send("word " * 500)
        assert "too much text" in until(client, "Error")[-1]["message"]
        list(rest(client))
    long = {"text": "word " * 500, "voice": ""}
    assert ask(server, TTS, "POST", json.dumps(long).encode())[0] == 413
    assert ask(server, "/api/tts", "POST", json.dumps(long).encode())[0] == 413
    free(server)


def test_a_body_without_a_length_has_a_size_too(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as raw:
        raw.sendall(
            f"POST {ASR} HTTP/1.1\r\nHost: localhost\r\nkyutai-api-key: {KEY}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        chunk = b"10000\r\n" + bytes(1 << 16) + b"\r\n"
        with suppress(OSError):  # it was told, and the connection is closed
            for _ in range(64):
                raw.sendall(chunk)
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


def test_there_is_an_end_to_connections(server):
    address, most = ("127.0.0.1", server.port), LIMITS["connections"]
    with ExitStack() as stack:
        for _ in range(most):  # whose bodies are waited for
            raw = stack.enter_context(socket.create_connection(address))
            raw.sendall(
                f"POST {ASR} HTTP/1.1\r\nHost: localhost\r\nkyutai-api-key: {KEY}\r\n"
                "Content-Length: 10\r\n\r\n".encode()
            )
        time.sleep(0.2)
        assert ask(server, ASR, "POST", b"")[0] == 503
        assert refused(server, f"{ASR}?auth_id={KEY}") == 503
    time.sleep(0.2)
    with ExitStack() as stack:
        idle = [stack.enter_context(socket.create_connection(address)) for _ in range(3 * most)]
        time.sleep(0.2)
        assert most <= sum(map(closed, idle)) < 3 * most
    free(server)


def closed(raw: socket.socket) -> bool:
    """Whether the server has closed a connection on which it sends nothing."""
    raw.settimeout(0.01)
    try:
        return raw.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize("begin", [b"", b"GET / HTTP/1.1\r\nHost: localhost\r\n"])
def test_who_connects_and_asks_nothing_is_let_go(server, begin):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
        raw.sendall(begin)
        began = time.monotonic()
        with suppress(ConnectionError):
            assert raw.recv(1) == b""
        assert time.monotonic() - began < 3 * LIMITS["request"]


def test_a_body_that_does_not_come_is_not_waited_for(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
        raw.sendall(
            f"POST {ASR} HTTP/1.1\r\nHost: localhost\r\nkyutai-api-key: {KEY}\r\n"
            "Content-Length: 1000\r\n\r\n".encode()
        )
        for _ in range(20):  # a slow writer
            try:
                raw.sendall(b"x")
            except OSError:
                break
            time.sleep(0.1)
        assert raw.recv(4096).startswith(b"HTTP/1.1 408")


def upgraded(server, path) -> socket.socket:
    """A websocket of which nothing is read and no ping answered."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(20)
    raw.connect(("127.0.0.1", server.port))
    raw.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"kyutai-api-key: {KEY}\r\nSec-WebSocket-Key: {'A' * 22}==\r\nSec-WebSocket-Version: 13"
        "\r\n\r\n".encode()
    )
    assert raw.recv(12) == b"HTTP/1.1 101"
    return raw


def frame(data: bytes) -> bytes:
    """A binary message of a client, whose mask changes nothing."""
    size = len(data)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return b"\x82" + length + bytes(4) + data


@pytest.mark.thorough
def test_half_open_sockets_are_dropped(server):
    """A client whose machine went away answers no pings."""
    for path in (ASR, f"{TTS}?format=Pcm"):
        with upgraded(server, path):
            assert ask(server, "/api/modules_info")[2].count(b'"used_slots":"1"') == 1
            free(server, 3 * LIMITS["silent"])


def test_who_answers_pings_and_sends_no_sound_is_told(server):
    with entered(server) as client:
        began = time.monotonic()
        assert until(client, "Error")[-1]["message"] == "no sound came for too long"
        assert list(rest(client)) == []
        assert LIMITS["idle"] <= time.monotonic() - began + 0.1 < 3 * LIMITS["idle"]


@pytest.mark.thorough
def test_who_sends_slowly_stays(server):
    """Frames are signs of life, also where pings are not answered."""
    with upgraded(server, ASR) as raw:
        sound = frame(msgpack.packb({"type": "Audio", "pcm": [0.0] * 100}))
        for _ in range(10):
            raw.sendall(sound)
            time.sleep(0.3)
        assert ask(server, "/api/modules_info")[2].count(b'"used_slots":"1"') == 1
    free(server)


@pytest.mark.thorough
def test_who_does_not_read_is_dropped_and_costs_no_memory(server):
    """Speech that nobody takes, sound sent without end by one who reads nothing, and pings."""
    before = server.memory
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", server.port))
        body = json.dumps({"text": "word " * 390, "voice": ""}).encode()
        raw.sendall(
            f"POST {TTS} HTTP/1.1\r\nHost: localhost\r\nkyutai-api-key: {KEY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        assert raw.recv(12) == b"HTTP/1.1 200"
        free(server, 10)
    with upgraded(server, f"{TTS}?format=Pcm") as raw:
        text = b"word " * 390
        raw.sendall(b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text)
        free(server, 10)
    sound = frame(msgpack.packb({"type": "Audio", "pcm": [0.0] * 24_000}, use_single_float=True))
    mark = frame(msgpack.packb({"type": "Marker", "id": 1}))
    ping = b"\x89\xfd" + bytes(4) + bytes(125)
    for flood in (sound, ping * 100, mark * 100):
        with upgraded(server, ASR) as raw:
            raw.settimeout(0.5)
            until = time.monotonic() + 2
            with suppress(OSError):
                while time.monotonic() < until:
                    raw.sendall(flood)
    free(server, 10)
    assert server.memory - before < 40 << 20


SECOND = msgpack.packb({"type": "Audio", "pcm": [0.0] * 24_000}, use_single_float=True)


@pytest.mark.parametrize(
    ("flood", "most"),
    [(SECOND, stt.AHEAD // 24_000), (msgpack.packb({"type": "Marker", "id": 1}), MOST_WAITING)],
)
def test_no_more_is_read_than_a_model_that_is_stuck_can_take(flood, most):
    class Flooding:
        read = 0

        async def receive(self):
            self.read += 1
            await asyncio.sleep(0)
            return {"type": "websocket.receive", "bytes": flood}

    class Stuck:
        async def ready(self):
            await asyncio.Event().wait()

        def __aiter__(self):
            return self

        __anext__ = ready

        async def open(self):
            return self

    async def play():
        client, state = Flooding(), State(ServerOptions(), Models(None, None))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(stt.Listening(client, Stuck(), state).run(), 1)
        return client.read

    assert asyncio.run(play()) == pytest.approx(most, abs=2)


def test_pings_are_not_answered_while_nothing_is_read():
    written = []

    class Transport(asyncio.Transport):
        def write(self, data):
            written.append(data)

    async def play():
        config = uvicorn.Config(lambda: None, log_config=None)
        protocol = SocketProtocol(config=config, server_state=ServerState(), app_state={})
        protocol.transport = Transport()
        protocol.conn = Connection(ConnectionType.SERVER)
        protocol.pause_writing()
        protocol.handle_ping(Ping())
        assert written == []
        protocol.resume_writing()
        protocol.handle_ping(Ping())

    asyncio.run(play())
    assert written == [b"\x8a\x00"]


@pytest.mark.parametrize("path", [ASR, f"{TTS}?format=PcmMessagePack"])
def test_garbage_ends_the_connection_without_a_message(server, path):
    noise = random.Random(1)
    bad = [noise.randbytes(size) for size in (1, 2, 30, 1000)]
    bad += [b"", msgpack.packb(7), msgpack.packb({"type": "Nothing"}), msgpack.packb({"type": 1})]
    bad += [b"\x91" * 2000, b"\xdf\xff\xff\xff\xff", msgpack.packb({"type": "Audio"})]
    for data in bad:
        with entered(server, path) as client:
            assert receive(client) == {"type": "Ready"}
            client.send(data)
            assert [msgpack.unpackb(m) for m in rest(client)] == []
            assert client.close_code == 1007, data[:20]
    free(server)


def test_sound_that_is_none_ends_the_connection(server):
    for pcm in ([float("nan")], [1e30], [1e300]):
        with entered(server) as client:
            client.send(msgpack.packb({"type": "Audio", "pcm": pcm}))
            assert [msgpack.unpackb(m) for m in rest(client)] == [{"type": "Ready"}]
            assert client.close_code == 1007
    free(server)


def test_bytes_that_are_no_request_are_told_so(server):
    for data in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/1.1\r\nHost: \xff\r\nX" + b"y" * 70_000):
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as raw:
            raw.sendall(data)
            assert raw.recv(4096).startswith(b"HTTP/1.1 4")


def test_ogg_opus_without_pyav_is_told(server):
    told = "Ogg Opus needs PyAV on the server"
    with entered(server) as client:
        send(client, type="OggOpus", data=[1])
        assert told in until(client, "Error")[-1]["message"]
        assert list(rest(client)) == []
    with entered(server, f"{TTS}?format=OggOpusMessagePack") as client:
        assert told in receive(client)["message"]
        assert list(rest(client)) == []
    with entered(server, TTS) as client:  # nothing but sound can be sent: the close says it
        assert list(rest(client)) == []
        assert told in client.close_reason
    free(server)


def test_an_error_within_is_told_without_what_it_says(caplog):
    sent = []

    async def broken(scope, receive, send):
        raise ValueError("secret words")

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "path": "/x", "query_string": b"auth_id=key"}
    asyncio.run(Errors(broken)(scope, None, send))
    assert sent[0]["status"] == 500 and b"secret" not in sent[1]["body"]
    assert re.search(r"ValueError \(.*broken in", caplog.text)
    assert "secret" not in caplog.text and "auth_id" not in caplog.text


def test_nothing_of_what_clients_send_is_in_the_log(server):
    assert not any(KEY in line or OTHER in line or "auth_id" in line for line in server.told)
    assert not any("Traceback" in line or "word" in line for line in server.told)
