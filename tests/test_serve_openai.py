"""OpenAI's endpoints where their own client does not go: what is refused, and what is left behind.

With very small models; `test_serve_openai_client.py` has the official client and `tiny`.
"""

import base64
import json
import time
import urllib.error
import urllib.request
import uuid

import numpy as np
import pytest
import soundfile
from serving import SECONDS, Served

from dsm_mlx import load_stt
from dsm_mlx.audio import read, to_s16le
from dsm_mlx.serve.openai.encoders import ENCODERS
from dsm_mlx.serve.openai.wishes import WishError, Wishes

BUS = "demos/audio/bus.wav"
SLOTS = 2
HEARING, SPEECH, LIVE = "/v1/audio/transcriptions", "/v1/audio/speech", "/v1/realtime"


@pytest.fixture(scope="module")
def server(small):
    settings = {"stt": str(small("stt-tiny")), "tts": str(small("tts-tiny"))}
    with Served(**settings, max_streams=SLOTS) as served:
        yield served


@pytest.fixture(scope="module")
def guarded(small):
    limits = {"body": 50_000, "text": 100, "wait": 2.0, "idle": 3.0}
    with Served(stt=str(small("stt-tiny")), keys=["secret"], limits=limits) as served:
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
        ({"speed": 2}, "speed"),
        ({"voice": 7}, "voice"),
    ],
)
def test_speech_that_cannot_be(server, wanted, told):
    wanted = {"model": "tts-1", "input": "one", "voice": "alloy", **wanted}
    assert told in error_of(call(server, SPEECH, wanted), 400)


def test_speech_as_events(server):
    wanted = {"input": "one two", "response_format": "pcm", "stream_format": "sse"}
    _, kind, body = call(server, SPEECH, wanted)
    events = [json.loads(line[6:]) for line in body.decode().split("\n\n") if line]
    assert kind.startswith("text/event-stream")
    assert [event["type"] for event in events[-2:]] == ["speech.audio.delta", "speech.audio.done"]
    pcm = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert len(pcm) > 1920 * 2 and len(pcm) % 3840 == 0


@pytest.mark.parametrize("name", ["wav", "flac", "mp3", "opus", "pcm"])
def test_encoders_give_back_what_they_were_given(name, tmp_path):
    """In pieces as they come, never held back for long."""
    pcm = 0.3 * np.sin(np.arange(24_000, dtype=np.float32) * 0.05)
    encoder = ENCODERS[name]()
    pieces = [encoder.begin(), *(encoder.push(part) for part in np.split(pcm[:23_040], 12))]
    data = b"".join([*pieces, encoder.end()])
    assert sum(map(len, pieces)) > 0.5 * len(data)
    found = np.frombuffer(data, "<i2") / 32768 if name == "pcm" else read(data)
    assert abs(len(found) - 23_040) < 3000
    assert abs(np.abs(found).max() - 0.3) < 0.1


def test_models_and_voices(server):
    found = json.loads(call(server, "/v1/models")[2])
    assert found["object"] == "list" and [m["id"] for m in found["data"]] == [
        "stt-tiny",
        "tts-tiny",
    ]
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


# ---- live


class Live:
    """A realtime client that nobody's library stands behind."""

    def __init__(self, server, **options):
        self._connecting = server.connect(LIVE + "?intent=transcription", **options)

    def __enter__(self):
        self.socket = self._connecting.__enter__()
        self.first = self.receive()
        return self

    def __exit__(self, *error):
        self._connecting.__exit__(*error)

    def send(self, kind, **fields):
        self.socket.send(json.dumps({"type": kind, **fields}))

    def append(self, pcm, size=4800):
        for start in range(0, len(pcm), size):
            data = to_s16le(pcm[start : start + size])
            self.send("input_audio_buffer.append", audio=base64.b64encode(data).decode())

    def receive(self):
        return json.loads(self.socket.recv(timeout=SECONDS))

    def until(self, end):
        found = [self.receive()]
        while not found[-1]["type"].endswith(end):
            found.append(self.receive())
        return found


def manual(client, **more):
    client.send(
        "session.update",
        session={"type": "transcription", "audio": {"input": {"turn_detection": None, **more}}},
    )
    return client.until("updated")[-1]


def deltas(events):
    return "".join(event["delta"] for event in events if event["type"].endswith(".delta"))


def test_turns_follow_each_other(server, stt):
    """Committed by the client; each has its own identity, and the words are the library's."""
    pcm = read(BUS)
    with Live(server) as client:
        assert client.first["type"] == "session.created"
        assert client.first["session"]["object"] == "realtime.transcription_session"
        assert manual(client)["session"]["audio"]["input"]["turn_detection"] is None
        client.append(pcm)
        client.send("input_audio_buffer.commit")
        one = client.until("completed")
        client.append(pcm[:24_000])
        client.send("input_audio_buffer.commit")
        two = client.until("completed")
    assert deltas(one) == one[-1]["transcript"] == stt.transcribe(BUS).text
    assert deltas(two) == two[-1]["transcript"]
    committed = [e for e in one + two if e["type"] == "input_audio_buffer.committed"]
    assert committed[0]["previous_item_id"] is None
    assert committed[1]["previous_item_id"] == committed[0]["item_id"] == one[-1]["item_id"]
    assert two[-1]["usage"]["seconds"] == pytest.approx(1.0, abs=0.2)
    assert len({event["event_id"] for event in one + two}) == len(one + two)


def test_the_older_shape(server, stt):
    headers = {"OpenAI-Beta": "realtime=v1"}
    with Live(server, additional_headers=headers) as client:
        assert client.first["type"] == "transcription_session.created"
        assert client.first["session"]["input_audio_format"] == "pcm16"
        client.send("transcription_session.update", session={"turn_detection": None})
        assert client.until("updated")[-1]["type"] == "transcription_session.updated"
        client.append(read(BUS))
        client.send("input_audio_buffer.commit")
        assert client.until("completed")[-1]["transcript"] == stt.transcribe(BUS).text


def test_what_is_cleared_was_not_said(server):
    with Live(server) as client:
        manual(client)
        client.append(read(BUS))
        client.send("input_audio_buffer.clear")
        found = client.until("cleared")
        client.send("input_audio_buffer.commit")
        assert client.until("error")[-1]["error"]["message"].startswith("the buffer is empty")
        client.append(read(BUS)[:24_000])
        client.send("input_audio_buffer.commit")
        found = client.until("completed")
    assert deltas(found) == found[-1]["transcript"]


@pytest.mark.parametrize(
    "message, told",
    [
        ("hello", "no JSON"),
        ("[]", "no JSON object"),
        ('{"type": "response.create"}', "response.create"),
        ('{"type": "input_audio_buffer.append", "audio": "???"}', "base64"),
        ('{"type": "input_audio_buffer.append"}', "base64"),
        ('{"type": "input_audio_buffer.commit"}', "empty"),
        ('{"type": "session.update"}', "session"),
        ('{"type": "session.update", "session": {"type": "realtime"}}', "transcription"),
    ],
)
def test_what_is_wrong_is_told_and_the_session_goes_on(server, message, told):
    with Live(server) as client:
        client.socket.send(message)
        error = client.until("error")[-1]["error"]
        assert told in error["message"] and error["type"] == "invalid_request_error"
        assert manual(client)["type"] == "session.updated"


def test_events_are_told_by_their_id(server):
    with Live(server) as client:
        client.send("input_audio_buffer.commit", event_id="mine")
        assert client.until("error")[-1]["error"]["event_id"] == "mine"


def test_no_slot_is_told_and_one_that_leaves_makes_room(server):
    with Live(server), Live(server), Live(server) as third:
        assert (
            third.first["type"] == "error"
            and "streams are in use" in third.first["error"]["message"]
        )
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        with Live(server) as client:
            if client.first["type"] == "session.created":
                return
        time.sleep(0.05)
    raise AssertionError("no slot came back")


@pytest.mark.parametrize(
    "given, path",
    [
        ({"format": {"type": "audio/x"}}, "format.type"),
        ({"format": {"type": "audio/pcm", "rate": 1}}, "format.rate"),
        ({"turn_detection": {"type": "psychic"}}, "turn_detection.type"),
        ({"turn_detection": {"type": "semantic_vad", "eagerness": 5}}, "turn_detection.eagerness"),
        ({"turn_detection": {"silence_duration_ms": -1}}, "turn_detection.silence_duration_ms"),
        ({"turn_detection": {"threshold": float("nan")}}, "turn_detection.threshold"),
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
    assert Wishes().updated({"audio": {"input": {"turn_detection": turns}}}).policy.pause == pause


def test_telephone_sound(server, stt, tmp_path):
    """8 kHz, µ-law."""
    path = tmp_path / "bus.wav"
    soundfile.write(path, read(BUS, target=8000), 8000, "ULAW")
    data = path.read_bytes()[-len(read(BUS, target=8000)) :]
    with Live(server) as client:
        manual(client, format={"type": "audio/pcmu"})
        for start in range(0, len(data), 1600):
            piece = base64.b64encode(data[start : start + 1600]).decode()
            client.send("input_audio_buffer.append", audio=piece)
        client.send("input_audio_buffer.commit")
        assert client.until("completed")[-1]["transcript"] == stt.transcribe(path).text
