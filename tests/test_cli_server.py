"""dsm-stt and dsm-tts with a server in place of a model: what they print is what they print with
the model, and what goes wrong is one line."""

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import msgpack
import numpy as np
import pytest
import soundfile
from commands import SERVE, STT, TTS, ended, run, start, wait_for
from serving import FRAME, Served
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

from dsm_mlx import AudioError
from dsm_mlx.audio import read, to_s16le
from dsm_mlx.cli import remote, transcription
from dsm_mlx.cli.remote import Server
from dsm_mlx.cli.remote_tts import RemoteSpeech
from dsm_mlx.cli.transcribe import main

BUS = "demos/audio/bus.wav"
KEY = "a-secret-key"
WITH_KEY = {**os.environ, "DSM_MLX_API_KEY": KEY}


@pytest.fixture(scope="module")
def models(small):
    return {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}


@pytest.fixture(scope="module")
def server(models):
    """The real command, which wants a key."""
    arguments = ["--stt", models["stt"], "--tts", models["tts"], "--port", "0", "--api-key", KEY]
    with Served(*SERVE[1:], *arguments, "--max-streams", "2") as served:
        served.at = f"http://127.0.0.1:{served.port}"
        yield served
        assert not any("Traceback" in line or KEY in line for line in served.told)


def remotely(command, server, *args, **options):
    found = run(command, *args, "--server", server.at, **{"env": WITH_KEY} | options)
    assert KEY not in found[1] + found[2]
    return found


# ---- listening


@pytest.mark.thorough
@pytest.mark.parametrize(
    "args",
    [
        [], ["--timestamps"], ["--output-format", "srt"], ["--output-format", "vtt"],
        ["--output-format", "json"], ["--pauses", "--timestamps"],
        ["--start", "1.3", "--end", "2.5", "--timestamps"],
    ],
)  # fmt: skip
def test_what_is_heard_of_a_file_is_what_the_model_hears(server, models, args):
    expected = run(STT, "--model", models["stt"], BUS, *args)
    found = remotely(STT, server, BUS, *args)
    if "json" in args:
        expected, found = (
            (status, without_confidence(out), err) for status, out, err in (expected, found)
        )
    assert found == expected and found[0] == 0 and found[1]


def test_a_track_that_is_not_there(server):
    assert "has one sound track (track is 2, expected 1)" in fails(
        STT, BUS, "--track", "2", "--server", server.at
    )


def without_confidence(out):
    """The protocol does not tell how sure the model is."""
    data = json.loads(out)
    for word in data["words"]:
        word.pop("confidence", None)
    return data


def test_pauses_are_told(server, models):
    args = [BUS, "--output-format", "json", "--pauses"]
    expected = json.loads(run(STT, "--model", models["stt"], *args)[1])
    found = json.loads(remotely(STT, server, *args)[1])
    assert found.get("turns") == expected.get("turns")
    assert len(expected["pauses"]) - len(found["pauses"]) in (0, 1)  # one of a part of a frame
    for mine, theirs in zip(found["pauses"], expected["pauses"], strict=False):
        assert mine["time"] == theirs["time"]
        assert mine["probabilities"] == pytest.approx(theirs["probabilities"], abs=2e-4)


def test_several_files_into_a_folder_and_one_that_is_none(server, models, tmp_path):
    shutil.copy(BUS, tmp_path / "a.wav")
    shutil.copy(BUS, tmp_path / "b.wav")
    (tmp_path / "c.wav").write_text("This is not sound.\n")
    files = [tmp_path / name for name in ("a.wav", "c.wav", "b.wav")]
    out = ["--output-dir", tmp_path / "out", "--output-format", "all"]
    status, _, err = remotely(STT, server, *files, *out)
    assert status == 1 and "c.wav" in err and "Traceback" not in err
    assert len(os.listdir(tmp_path / "out")) == 8
    text = run(STT, "--model", models["stt"], BUS)[1]
    assert (tmp_path / "out/b.txt").read_text() == text


@pytest.mark.parametrize("raw", [False, True])
def test_a_pipe(server, models, raw):
    data = to_s16le(read(BUS)) if raw else Path(BUS).read_bytes()
    expected = run(STT, "--model", models["stt"], "-", input=data)
    assert remotely(STT, server, "-", input=data) == expected


def test_words_come_while_the_pipe_is_open_and_ctrl_c_ends_with_what_was_heard(server):
    process = start(STT, "-", "--rate", 24_000, "--server", server.at, env=WITH_KEY)
    process.stdin.write(to_s16le(np.tile(read(BUS), 3)))
    process.stdin.flush()
    early = process.stdout.read(5)
    process.send_signal(signal.SIGINT)
    status, out, err = ended(process)
    assert (status, err) == (0, "") and len(early) == 5 and out.endswith("\n")


class Microphone:
    """One that hears a file, and is lost then."""

    def __init__(self, device, rate):
        self._rate = rate

    def __enter__(self):
        yield from np.array_split(read(BUS, target=self._rate), 10)
        raise AudioError("the microphone is lost")

    def __exit__(self, *_):
        pass


def test_a_microphone(server, models, monkeypatch, capsys):
    monkeypatch.setattr(transcription, "Microphone", Microphone)
    monkeypatch.setattr(transcription, "find_device", lambda device, kind: None)
    monkeypatch.setenv("DSM_MLX_API_KEY", KEY)
    assert main(["--mic", "--timestamps", "--server", server.at]) == 1
    out, err = capsys.readouterr()
    assert "the microphone is lost" in err
    assert out == run(STT, "--model", models["stt"], BUS, "--timestamps")[1]


# ---- speaking


def test_what_is_said_is_what_the_model_says(server, models, tmp_path):
    args = ["Wait <break time='500ms'/> for", "me, my friend", "--seed", 3, "--voice", "voice1.wav"]
    files = ["--out", "a.wav", "--words", "a.json"]
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    expected = run(TTS, "--model", models["tts"], *args, *files, cwd=tmp_path / "here")
    assert remotely(TTS, server, *args, *files, cwd=tmp_path / "there") == expected
    for name in ("a.wav", "a.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_pipe_is_said_as_it_comes(server):
    process = start(TTS, "-", "--out", "-", "--seed", 1, "--server", server.at, env=WITH_KEY)
    process.stdin.write(b"one two three four five six seven eight nine ten ")
    process.stdin.flush()
    assert len(process.stdout.read(3840)) == 3840
    rest, err = process.communicate(b"eleven.", timeout=60)
    assert (process.returncode, err) == (0, b"") and len(rest) > 3840


def test_nothing_to_say_is_an_error_and_no_file(server, tmp_path):
    status, _, err = remotely(TTS, server, "🙂", "--out", tmp_path / "a.wav")
    assert status == 1 and "nothing of it can be said" in err and os.listdir(tmp_path) == []


@pytest.mark.alone
def test_ctrl_c_while_it_speaks_writes_no_file(server, tmp_path):
    text = "word " * 5000
    out = tmp_path / "a.wav"
    process = start(TTS, text, "--out", out, "--server", server.at, env=WITH_KEY)
    wait_for(lambda: os.listdir(tmp_path))
    process.send_signal(signal.SIGINT)
    status, _, err = ended(process)
    assert (status, err) == (130, f"interrupted; not written: {out}\n")
    assert os.listdir(tmp_path) == []


def test_text_goes_out_in_whole_words_and_whole_breaks():
    sent = []

    class Connection:
        def send(self, message):
            sent.append(msgpack.unpackb(message))

    speech = RemoteSpeech(Connection())
    for piece in ("Hel", "lo there", ", <break ti", "me='1s'/", "> you", " \n", "\n"):
        speech.feed(piece)
    speech.end()
    texts = [message["text"] for message in sent[:-1]]
    assert sent[-1] == {"type": "Eos"}
    assert "".join(texts).split() == ["Hello", "there,", "<break", "time='1s'/>", "you"]
    assert any("<break time='1s'/>" in text for text in texts)
    assert all(text[-1].isspace() for text in texts[:-1])


# ---- what goes wrong


def fails(command, *args, env=WITH_KEY, **options):
    """The one line that is told of an error."""
    status, out, err = run(command, *args, env=env, **options)
    assert (status, out, err.count("\n")) == (1, "", 1), err
    assert err.startswith("error: ") and KEY not in err
    return err


def both(url, env=WITH_KEY):
    yield fails(STT, BUS, "--server", url, env=env)
    yield fails(TTS, "Hi", "--out", "-", "--server", url, env=env)


def test_a_wrong_key(server):
    for err in both(server.at, env={**os.environ, "DSM_MLX_API_KEY": "wrong"}):
        assert "another key" in err and "DSM_MLX_API_KEY" in err and "wrong" not in err
    status, _, err = run(STT, BUS, "--server", server.at, "--api-key", KEY)
    assert (status, err) == (0, "")


def test_nobody_there():
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
    for err in both(f"http://127.0.0.1:{port}"):
        assert f"127.0.0.1:{port}" in err and "nothing listens there" in err


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:1", "socks5h://127.0.0.1:1", "nonsense://"])
def test_a_proxy_that_does_not_work(proxy):
    environment = WITH_KEY | {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": ""}
    for err in both("http://example.invalid:8080", env=environment):
        assert "example.invalid:8080" in err


def test_no_stream_is_free(server):
    with (
        server.connect("/api/asr-streaming", additional_headers={"kyutai-api-key": KEY}),
        server.connect("/api/asr-streaming", additional_headers={"kyutai-api-key": KEY}),
    ):
        assert "all its streams are in use" in fails(STT, BUS, "--server", server.at)


def test_a_server_without_such_a_model(models):
    with Served(tts=models["tts"]) as served:
        err = fails(STT, BUS, "--server", f"127.0.0.1:{served.port}")
        assert "it has no model for this" in err


def test_a_server_that_goes_takes_nothing_of_what_was_heard(models):
    with Served(**models) as served:
        process = start(STT, "-", "--rate", 24_000, "--server", served.url(""))
        process.stdin.write(to_s16le(np.tile(read(BUS), 3)))
        process.stdin.flush()
        early = process.stdout.read(5)
        served.process.kill()
        served.process.wait(20)
        process.stdin.write(bytes(96_000))
        status, out, err = ended(process)
    assert status == 1 and len(early) == 5 and out.endswith("\n")
    assert err.count("\n") == 1 and "the server has gone" in err


def test_a_server_that_goes_while_it_speaks(models, tmp_path):
    with Served(**models) as served:
        out = tmp_path / "a.wav"
        process = start(TTS, "word " * 5000, "--out", out, "--server", served.url(""))
        wait_for(lambda: os.listdir(tmp_path))
        served.process.kill()
        status, _, err = ended(process)
    assert status == 1 and "the server has gone" in err and os.listdir(tmp_path) == []


@contextmanager
def speaking(handle, **options):
    """A server that does `handle(socket)` with everybody; its port."""
    with serve(handle, "127.0.0.1", 0, **options) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield listening.socket.getsockname()[1]
        finally:
            listening.shutdown()
            thread.join()


def test_a_certificate_that_nobody_trusts(tmp_path):
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate")
    certificate = tmp_path / "c.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-days", "2", "-keyout", certificate,
         "-out", tmp_path / "c.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "c.crt", certificate)
    with speaking(moshi_hears, ssl=context) as port:
        for err in both(f"https://localhost:{port}"):
            assert "its certificate is not trusted" in err
        trusting = WITH_KEY | {"SSL_CERT_FILE": str(tmp_path / "c.crt")}
        assert run(STT, BUS, "--server", f"https://localhost:{port}", env=trusting)[0] == 0
    with speaking(moshi_hears) as port:
        assert "does not speak TLS" in fails(STT, BUS, "--server", f"https://localhost:{port}")


def test_a_server_that_is_none_of_these():
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer():
            while True:
                try:
                    client, _ = listening.accept()
                except OSError:
                    return
                with client:
                    client.recv(4096)
                    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nHi")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        for err in both(f"http://127.0.0.1:{listening.getsockname()[1]}"):
            assert "it answered with status 200: Hi" in err
        listening.shutdown(socket.SHUT_RDWR)
    thread.join(20)
    for strange in (b"\x81\xa4type\x07", msgpack.packb({"type": "Audio", "pcm": ["x"]})):
        with speaking(lambda client, data=strange: client.send(data)) as port:
            for err in both(f"127.0.0.1:{port}"):
                assert "what it sends is not Kyutai's protocol" in err


# ---- Kyutai's own server


def moshi_hears(client):
    """It is 6 frames behind, tells where a word ends when the next one begins, of the last one
    never, and echoes a Marker only when it has heard 6 frames more."""
    client.send(msgpack.packb({"type": "Ready"}))
    waiting, steps, said, marks = 0, 0, 0, []
    for data in client:
        message = msgpack.unpackb(data)
        if message["type"] == "Marker":
            marks.append((steps + waiting // FRAME + 6, message["id"]))
        elif message["type"] == "Audio":
            waiting += len(message["pcm"])
        while waiting >= FRAME:
            waiting -= FRAME
            steps += 1
            client.send(msgpack.packb({"type": "Step", "step_idx": 1000 + steps, "prs": [0.0] * 4}))
            if steps % 5 == 0 and said < 3:
                if said:
                    client.send(msgpack.packb({"type": "EndWord", "stop_time": said * 0.4 + 0.2}))
                said += 1
                word = {"type": "Word", "text": f"word{said}", "start_time": said * 0.4}
                client.send(msgpack.packb(word))
        while marks and marks[0][0] <= steps:
            client.send(msgpack.packb({"type": "Marker", "id": marks.pop(0)[1]}))


def moshi_says(client):
    """Two frames a word; then it closes with an empty frame."""
    client.send(msgpack.packb({"type": "Ready"}))
    for data in client:
        message = msgpack.unpackb(data)
        if message["type"] == "Eos":
            break
        for word in message["text"].split():
            spoken = {"type": "Text", "text": word, "start_s": 0.0, "stop_s": 0.1}
            client.send(msgpack.packb(spoken))
            for _ in range(2):
                client.send(msgpack.packb({"type": "Audio", "pcm": [0.25] * FRAME}))
    with client.send_context():
        client.protocol.send_close()
    with pytest.raises(ConnectionClosed):
        client.recv(10)


def test_kyutais_own_server_hears():
    with speaking(moshi_hears) as port:
        args = ["-", "--timestamps", "--server", f"ws://127.0.0.1:{port}"]
        status, out, err = run(STT, *args, input=Path(BUS).read_bytes())
    lines = out.splitlines()
    assert (status, err) == (0, "")
    assert [line.split("] ")[1] for line in lines] == ["word1", "word2", "word3"]
    assert lines[0] == "[    0.40 -    0.60] word1"


def test_kyutais_own_server_speaks(tmp_path):
    with speaking(moshi_says) as port:
        args = ["--out", tmp_path / "a.wav", "--words", tmp_path / "a.json"]
        url = f"127.0.0.1:{port}"
        status, _, err = run(TTS, "Hello my friend", *args, "--server", url)
    assert status == 0 and "0.48 s" in err
    assert [w["text"] for w in json.loads((tmp_path / "a.json").read_text())] == [
        "Hello", "my", "friend",
    ]  # fmt: skip
    assert len(soundfile.read(tmp_path / "a.wav")[0]) == 6 * FRAME


def test_an_empty_close_before_the_text_has_ended_is_no_good_end():
    def leaves(client):
        client.send(msgpack.packb({"type": "Ready"}))
        client.recv(10)
        with client.send_context():
            client.protocol.send_close()

    with speaking(leaves) as port:
        process = start(TTS, "-", "--out", "-", "--server", f"127.0.0.1:{port}")
        process.stdin.write(b"Hello there ")
        process.stdin.flush()
        assert process.wait(60) == 1
        assert b"the server has gone" in process.stderr.read()
        process.communicate()


# ---- where it is, and what goes with it


def test_a_socket_of_the_file_system(models):
    folder = tempfile.mkdtemp()  # short: such paths have at most 100 bytes
    path = os.path.join(folder, "socket")
    with Served(**models, unix_socket=path):
        status, out, err = run(STT, BUS, "--server", f"unix:{path}")
        assert (status, err) == (0, "") and out.strip()
    assert "error: unix:" in run(STT, BUS, "--server", f"unix:{path}")[2]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("localhost:8080", "ws://localhost:8080"),
        ("http://localhost:8080/", "ws://localhost:8080"),
        ("https://example.com/speech/", "wss://example.com/speech"),
        ("ws://[::1]:8080", "ws://[::1]:8080"),
        ("wss://example.com", "wss://example.com"),
    ],
)
def test_addresses(text, place, monkeypatch):
    monkeypatch.setenv("DSM_MLX_API_KEY", KEY)
    server = Server.of(text)
    assert server.place == place and server.key == KEY and KEY not in repr(server)
    assert Server.of(text, "another").key == "another"


@pytest.mark.parametrize(
    "text",
    [
        "", "ftp://example.com", "http://", "http://a@b", "http://u:p@example.com", "unix:",
        "http://example.com?auth_id=x", "http://example.com:port", "http://[", "host:99999999",
    ],
)  # fmt: skip
def test_what_is_no_address(text, capsys):
    with pytest.raises(SystemExit) as usage:
        main([BUS, "--server", text])
    assert usage.value.code == 2 and "expected" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "args", "told"),
    [
        (STT, [BUS, "--model", "tiny"], "--model"),
        (STT, [BUS, "--bits", "4"], "--bits"),
        (STT, [BUS, "--delay", "1"], "--delay"),
        (STT, [BUS, "--seed", "1"], "--seed"),
        (STT, [BUS, "--temperature", "0.5"], "--temperature"),
        (STT, [BUS, "--batch", "2"], "--batch"),
        (TTS, ["Hi", "--revision", "x"], "--revision"),
        (TTS, ["Hi", "--codebooks", "4"], "--codebooks"),
        (TTS, ["--list-voices"], "--list-voices"),
        (TTS, ["Hi", "--pace", "0.9"], "--pace"),
        (TTS, ["Hi", "--max-seconds", "3"], "--max-seconds"),
    ],
)
def test_what_concerns_a_model_cannot_go_with_a_server(command, args, told):
    status, _, err = run(command, *args, "--server", "localhost:1")
    assert status == 2 and f"{told} concerns a model on this machine" in err


def test_a_key_needs_a_server_and_must_be_one(capsys):
    for args, told in (
        ([BUS, "--api-key", "k"], "it needs --server"),
        ([BUS, "--server", "localhost:1", "--api-key", "a\nb"], "signs that no key has"),
    ):
        with pytest.raises(SystemExit):
            main(args)
        assert told in capsys.readouterr().err


def test_a_package_that_is_missing_is_told(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "websockets.sync.client", None)
    assert main([BUS, "--server", "localhost:1"]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "dsm-mlx[client]" in err and remote.KEY_VARIABLE not in err
