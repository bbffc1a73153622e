"""OpenAI's own client, in an environment of its own, with `tiny`."""

import base64
import json
import os
import subprocess
from pathlib import Path

import pytest
from serving import Served

from dsm_mlx import load_stt
from dsm_mlx.audio import read

PYTHON = os.environ.get("DSM_MLX_OPENAI_PYTHON")
CLIENTS = Path(__file__).parent / "clients"
BUS, CAT = "demos/audio/bus.wav", "demos/audio/cat.flac"
TEXT = "the bus was late because the road was full of snow"
CAT_TEXT = "a black cat was sleeping under the table when the doctor came"

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="DSM_MLX_OPENAI_PYTHON names no Python that has openai[realtime]"
)


@pytest.fixture(scope="module")
def server():
    with Served("-m", "dsm_mlx.serve", "--stt", "tiny", "--tts", "tiny", "--port", "0") as served:
        yield served


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Files of s16le in WAV, by name and rate."""
    folder = tmp_path_factory.mktemp("client")

    def made(source, rate):
        path = folder / f"{Path(source).stem}-{rate}.wav"
        subprocess.run(["ffmpeg", "-v", "error", "-i", source, "-ar", str(rate), path], check=True)
        return str(path)

    return made


def client(name, server, *paths):
    """What one of the programs got."""
    command = [PYTHON, CLIENTS / name, server.url("/v1"), *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def found(server, sounds):
    path = sounds(BUS, 16_000)  # as a client may send it: the server resamples
    return client("openai_client.py", server, path) | {"path": path}


@pytest.fixture(scope="module")
def talk(server, sounds):
    return client("openai_conversation.py", server, sounds(BUS, 24_000), sounds(CAT, 24_000))


def test_transcriptions(found):
    """The words are those of the library, in every format."""
    transcript, said = load_stt("tiny").transcribe(found["path"]), found["transcriptions"]
    assert transcript.text == TEXT == said["json"]
    assert said["text"].strip() == TEXT and said["srt"] == transcript.to_srt()
    assert said["vtt"] == transcript.to_vtt()
    assert said["words"] == [[word.text, word.start] for word in transcript.words]
    assert " ".join(said["segments"]) == TEXT
    assert "".join(said["deltas"]) == TEXT and said["done"] == [TEXT]
    assert said["duration"] == pytest.approx(transcript.duration, abs=0.1)


@pytest.mark.parametrize("format", ["mp3", "opus", "aac", "flac", "wav", "pcm"])
def test_speech(found, format):
    kind, data = found["speech"][format]
    sound = base64.b64decode(data)
    assert kind == {"mp3": "audio/mpeg"}.get(format, f"audio/{format}")
    if format == "pcm":
        assert len(sound) > 2 * 12_000 and len(sound) % 2 == 0
    elif format == "aac":
        assert sound[:2] in (b"\xff\xf1", b"\xff\xf9") and len(sound) > 1000
    else:
        pcm = read(sound)
        assert len(pcm) > 12_000 and abs(pcm).max() > 0.01


def test_models_and_errors(found):
    assert found["models"] == ["tiny", "echo"]
    assert found["errors"]["model"] == "there is no model of that name"
    assert "not a sound file" in found["errors"]["file"]


def test_a_turn_that_the_client_ends(found):
    said = found["manual"]
    assert said["types"][0] == "session.created" and "session.updated" in said["types"]
    assert "input_audio_buffer.committed" in said["types"]
    assert "".join(said["deltas"]) == TEXT and said["text"] == [TEXT]


def test_a_turn_that_the_server_ends(found):
    said = found["server_vad"]
    order = [kind.rpartition(".")[2] for kind in said["types"] if not kind.endswith("delta")]
    assert order == [
        "created", "updated", "speech_started", "speech_stopped", "committed", "added", "completed",
    ]  # fmt: skip
    assert "".join(said["deltas"]) == said["text"][0] and TEXT.startswith(said["text"][0])


def test_a_conversation_of_three_turns_and_an_interruption(talk):
    turns = talk["turns"]
    first, second, third = (turns[name] for name in ("first", "second", "third"))
    assert first["heard"] == [TEXT] and first["said"] == TEXT and first["seconds"] > 1
    assert first["status"] == ["completed"]
    assert second["status"] == ["cancelled"] and second["reasons"] == ["turn_detected"]
    (answered,) = second["heard"]
    assert answered.split()[:5] == TEXT.split()[:5] and second["said"] == answered
    assert answered.startswith(turns["cut"]) and len(turns["cut"].split()) < 5
    assert third["heard"][0].split()[:3] == CAT_TEXT.split()[:3]
    assert [third["said"]] == third["heard"] and third["status"] == ["completed"]
    types = talk["turns_types"]
    assert types[:2] == ["session.created", "session.updated"] and "error" not in types


def test_a_conversation_that_the_client_conducts(talk):
    found = talk["by_hand"]
    assert found["committed"]["heard"] == [TEXT] and found["committed"]["said"] == TEXT
    assert found["text"] == ["good morning"]
    assert found["cancelled"]["status"] == ["cancelled"]
    assert found["cancelled"]["reasons"] == ["client_cancelled"]
    assert "tools" in found["refused"]
    assert talk["by_hand_types"].count("error") == 1
