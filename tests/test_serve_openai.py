"""OpenAI's endpoints where their own client does not go: what is refused, and what is left behind.

With very small models; `test_serve_openai_client.py` has the official client and `tiny`.
"""

import base64
import io
import json
import socket
import urllib.error
import urllib.request
import uuid

import numpy as np
import pytest
import soundfile
from serving import SECONDS, Served

from dsm_mlx import load_stt
from dsm_mlx.audio import read
from dsm_mlx.audio.pyav import has_pyav
from dsm_mlx.serve.models import JOBS
from dsm_mlx.serve.openai.encoders import ENCODERS
from dsm_mlx.serve.openai.fields import WishError
from dsm_mlx.serve.openai.wishes import Wishes

BUS = "demos/audio/bus.wav"
SLOTS = 2
HEARING, SPEECH = "/v1/audio/transcriptions", "/v1/audio/speech"


@pytest.fixture(scope="module")
def server(small):
    settings = {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}
    with Served(**settings, max_streams=SLOTS) as served:
        yield served


@pytest.fixture(scope="module")
def guarded(small):
    limits = {"body": 50_000, "text": 100, "wait": 2.0, "stalled": 0.5}
    models = {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}
    with Served(**models, keys=["secret"], limits=limits) as served:
        yield served


@pytest.fixture(scope="module")
def stt(small):
    return load_stt(small("stt-tiny"), dtype="float32")


def call(server, path, body=None, kind="application/json", **headers):
    """Status, content type and body."""
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    headers = {"Content-Type": kind} | headers
    request = urllib.request.Request(server.url(path), data, headers)
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read()


def form(file=None, name="a.wav", **fields):
    """A multipart body and its type."""
    edge, parts = uuid.uuid4().hex, []
    field = f"--{edge}\r\nContent-Disposition: form-data; name="
    for key, value in fields.items():
        values = value if isinstance(value, list) else [value]
        parts += [f'{field}"{key}"\r\n\r\n{one}\r\n' for one in values]
    data = "".join(parts).encode()
    if file is not None:
        head = f'{field}"file"; filename="{name}"\r\n\r\n'
        data += head.encode() + file + b"\r\n"
    return data + f"--{edge}--\r\n".encode(), f"multipart/form-data; boundary={edge}"


def hear(server, file=None, headers=None, **fields):
    body, kind = form(file, **fields)
    return call(server, HEARING, body, kind, **(headers or {}))


def sound():
    with open(BUS, "rb") as file:
        return file.read()


def error_of(answer, status):
    assert answer[0] == status and answer[1] == "application/json", answer
    error = json.loads(answer[2])["error"]
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    return error["message"]


def test_the_text_is_that_of_the_library(server, stt):
    transcript = stt.transcribe(BUS)
    found = json.loads(hear(server, sound(), model="whisper-1")[2])
    assert found["text"] == transcript.text
    assert found["usage"] == {
        "type": "duration",
        "seconds": pytest.approx(transcript.duration, abs=0.1),
    }
    verbose = json.loads(
        hear(
            server, sound(), response_format="verbose_json", **{"timestamp_granularities[]": "word"}
        )[2]
    )
    assert [word["word"] for word in verbose["words"]] == [word.text for word in transcript.words]
    assert "segments" not in verbose and verbose["task"] == "transcribe"


def test_segments_have_all_the_fields_there_are(server):
    verbose = json.loads(hear(server, sound(), response_format="verbose_json")[2])
    for number, segment in enumerate(verbose["segments"]):
        assert segment["id"] == number and segment["start"] <= segment["end"]
        assert set(segment) == {
            "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob",
            "compression_ratio", "no_speech_prob",
        }  # fmt: skip
    assert verbose["segments"] and "words" not in verbose


@pytest.mark.parametrize(
    "fields, told",
    [
        ({"file": None}, "file"),
        ({"response_format": "diarized_json"}, "response_format"),
        ({"response_format": "docx"}, "response_format"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": "2"}, "temperature"),
        ({"timestamp_granularities[]": ["word", "letter"]}, "timestamp_granularities"),
        ({"file": b"this is no sound at all"}, "not a sound file"),
        ({"file": b""}, "file: "),
    ],
)
def test_what_cannot_be_is_told(server, fields, told):
    assert told in error_of(hear(server, **{"file": sound(), **fields}), 400)


@pytest.mark.parametrize(
    "body, kind", [(b"{}", "application/json"), (b"x", "multipart/form-data"), (b"", "text/plain")]
)
def test_a_body_that_is_no_form(server, body, kind):
    error_of(call(server, HEARING, body, kind), 400)


def test_names_and_paths_of_files_mean_nothing(server, stt):
    text = stt.transcribe(BUS).text
    for name in ("../../etc/passwd", "a\\b.mp3", "x" * 3000):
        assert json.loads(hear(server, sound(), name=name)[2])["text"] == text


def test_a_stream_ends_with_the_whole_text(server, stt):
    _, kind, body = hear(server, sound(), stream="true")
    events = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line]
    assert kind.startswith("text/event-stream")
    text = "".join(event["delta"] for event in events[:-1])
    assert events[-1]["type"] == "transcript.text.done"
    assert events[-1]["text"] == text == stt.transcribe(BUS).text


def test_translations_are_refused(server):
    error_of(call(server, "/v1/audio/translations", *form(sound())), 400)


@pytest.mark.parametrize(
    "wanted, told",
    [
        ({"input": ""}, "input"),
        ({"input": 7}, "input"),
        ({"response_format": "docx"}, "response_format"),
        ({"stream_format": "smoke"}, "stream_format"),
        ({"speed": 2}, "speed: expected 0.5 to 1.5"),
        ({"speed": 0.25}, "speed"),
        ({"speed": "1"}, "speed"),
        ({"speed": True}, "speed"),
        ({"voice": 7}, "voice"),
    ],
)
def test_speech_that_cannot_be(server, wanted, told):
    wanted = {"model": "tts-1", "input": "one", "voice": "alloy", **wanted}
    assert told in error_of(call(server, SPEECH, wanted), 400)


def test_the_speed_is_the_pace(server):
    """Each has a seed of its own, but slow speech has padding that no seed takes away."""
    wanted = {"input": "one two three. " * 3, "response_format": "pcm"}
    slow, plain, fast = (
        len(call(server, SPEECH, wanted | {"speed": speed})[2]) for speed in (0.5, None, 1.5)
    )
    assert slow > plain > 0 and slow > fast > 0


def test_speech_as_events(server):
    wanted = {"input": "one two", "response_format": "pcm", "stream_format": "sse"}
    _, kind, body = call(server, SPEECH, wanted)
    events = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line]
    assert kind.startswith("text/event-stream")
    assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "speech.audio.done"]
    pcm = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(pcm) > 1920 * 2 and len(pcm) % 3840 == 0


@pytest.mark.parametrize("name", [n for n in ENCODERS if n != "opus" or has_pyav()])
def test_encoders_give_back_what_they_were_given(name):
    """In pieces as they come, never held back for long."""
    if name == "aac" and not has_pyav():
        pytest.skip("PyAV is not installed")
    pcm = 0.3 * np.sin(np.arange(48_000, dtype=np.float32) * 0.05)
    encoder = ENCODERS[name]()
    pieces = [encoder.begin(), *(encoder.push(part) for part in np.split(pcm, 25))]
    data = b"".join([*pieces, encoder.end()])
    assert sum(map(len, pieces[:13])) > 0.3 * len(data)
    found = np.frombuffer(data, "<i2") / 32768 if name == "pcm" else read(data)
    assert 0 <= len(found) - len(pcm) < 3000
    assert abs(np.abs(found[2400:-4000]).max() - 0.3) < 0.1


def test_models_and_voices(server):
    found = json.loads(call(server, "/v1/models")[2])
    assert found["object"] == "list" and [m["id"] for m in found["data"]] == [
        "stt-tiny",
        "tts-tiny",
        "echo",
    ]
    assert [m["answers"] for m in found["data"]] == [False, False, True]
    assert json.loads(call(server, "/v1/models/whisper-1")[2])["id"] == "whisper-1"
    assert "/" not in json.dumps(found)
    voices = json.loads(call(server, "/v1/audio/voices")[2])["data"]
    assert {"id": "voice0.wav", "name": "voice0"} in voices


@pytest.mark.parametrize(
    "path, status", [("/v1/nothing", 404), ("/v1/models/a/b", 404), (HEARING, 405)]
)
def test_what_there_is_not_has_the_same_shape(server, path, status):
    answer = call(server, path)
    assert answer[0] == status and "error" in json.loads(answer[2])


def test_a_key_is_needed_and_may_be_a_bearer(guarded):
    error_of(call(guarded, "/v1/models"), 401)
    error_of(call(guarded, "/v1/models", Authorization="Bearer other"), 401)
    assert call(guarded, "/v1/models", Authorization="Bearer secret")[0] == 200


def test_limits(guarded):
    key = {"Authorization": "Bearer secret"}
    error_of(hear(guarded, bytes(60_000), headers=key), 413)
    wanted = {"input": "one " * 26}
    assert "input" in error_of(call(guarded, SPEECH, wanted, **key), 413)
    guarded.free()


def test_a_body_without_a_length_has_the_same_limit(guarded):
    """Told when it is too large, and not read to its end."""
    with socket.create_connection(("127.0.0.1", guarded.port), timeout=SECONDS) as raw:
        raw.sendall(
            f"POST {HEARING} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n"
            .encode()
        )  # fmt: skip
        part = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        raw.sendall(b"%x\r\n%s\r\n" % (len(part), part))
        raw.sendall((b"%x\r\n" % 10_000 + bytes(10_000) + b"\r\n") * 6)
        assert raw.recv(4096).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("cut", [10, 200, 20_000])
def test_a_form_that_breaks_off(server, cut):
    body, kind = form(sound())
    error_of(call(server, HEARING, body[:cut], kind), 400)


def posted(server, path, body, kind):
    """A connection on which a request was sent, of whose answer little is taken."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(SECONDS)
    raw.connect(("127.0.0.1", server.port))
    raw.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
    )
    return raw


@pytest.mark.parametrize("format", ["audio", "sse"])
def test_who_leaves_while_it_is_said_frees_the_slot(server, format):
    wanted = {"input": "word " * 2000, "response_format": "pcm", "stream_format": format}
    with posted(server, SPEECH, json.dumps(wanted).encode(), "application/json") as raw:
        assert raw.recv(12) == b"HTTP/1.1 200"
        assert "1" in server.used_slots
    server.free(2)


@pytest.mark.thorough
def test_who_leaves_while_a_file_is_heard_makes_room(server):
    """As many as may be heard at the same time leave, and the next one is answered."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(24_000 * 600, np.float32), 24_000, "PCM_16", format="WAV")
    for fields in ({}, {"stream": "true"}):
        for _ in range(JOBS):
            posted(server, HEARING, *form(file.getvalue(), **fields)).close()
        assert hear(server, sound())[0] == 200


def test_who_does_not_read_is_let_go(guarded):
    wanted = {"input": "one " * 25, "response_format": "wav"}
    with posted(guarded, SPEECH, json.dumps(wanted).encode(), "application/json") as raw:
        assert raw.recv(12) == b"HTTP/1.1 200"
        guarded.free(SECONDS)


def test_without_pyav_the_extra_is_named(small):
    with Served(tts=str(small("tts-tiny")), pyav=False) as bare:
        for name in ("opus", "aac"):
            told = error_of(call(bare, SPEECH, {"input": "one", "response_format": name}), 400)
            assert "dsm-mlx[opus]" in told
        assert call(bare, SPEECH, {"input": "one", "response_format": "mp3"})[0] == 200


def test_a_wav_file_has_no_length_as_moshi_has_it(server):
    _, kind, data = call(server, SPEECH, {"input": "one", "response_format": "wav"})
    assert kind == "audio/wav" and data[:4] == b"RIFF" and data[36:40] == b"data"
    assert data[4:8] == data[40:44] == b"\xff" * 4


@pytest.mark.parametrize("text", ["\ud800 one", "one\0two", "<b>one</b>", "\u200b", "<break"])
def test_no_text_breaks_the_server(server, text):
    status, kind, _ = call(server, SPEECH, {"input": text, "response_format": "pcm"})
    assert status == 200 or (status, kind) == (400, "application/json")


@pytest.mark.parametrize(
    "given, path",
    [
        ({"format": {"type": "audio/x"}}, "format.type"),
        ({"format": {"type": "audio/pcm", "rate": 1}}, "format.rate"),
        ({"turn_detection": {"type": "psychic"}}, "turn_detection.type"),
        ({"turn_detection": {"type": "semantic_vad", "eagerness": 5}}, "turn_detection.eagerness"),
        ({"turn_detection": {"silence_duration_ms": -1}}, "turn_detection.silence_duration_ms"),
        ({"turn_detection": {"threshold": float("nan")}}, "turn_detection.threshold"),
        ({"turn_detection": {"threshold": 10**400}}, "turn_detection.threshold"),
        ({"transcription": "whisper-1"}, "transcription"),
    ],
)
def test_wishes_that_cannot_be_name_their_place(given, path):
    with pytest.raises(WishError) as error:
        Wishes().updated({"audio": {"input": given}})
    assert error.value.param == f"session.audio.input.{path}"


@pytest.mark.parametrize(
    "turns, pause",
    [
        ({"type": "server_vad", "silence_duration_ms": 500}, 0.5),
        ({"type": "server_vad", "silence_duration_ms": 1200}, 1.0),
        ({"type": "semantic_vad", "eagerness": "low"}, 3.0),
        ({"type": "semantic_vad"}, 2.0),
    ],
)
def test_turn_detection_is_a_policy(turns, pause):
    wishes = Wishes().updated({"audio": {"input": {"turn_detection": turns}}})
    assert wishes.input.policy.pause == pause
