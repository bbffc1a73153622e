"""Home Assistant: its own integration, in an environment of its own, and what its newest one sends,
with Wyoming's client. With `tiny`."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import SERVE
from serving import Served

pytest.importorskip("wyoming", reason="wyoming is not installed: pip install '.[server]'")

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.tts import (
    Synthesize,
    SynthesizeChunk,
    SynthesizeStart,
    SynthesizeStop,
    SynthesizeStopped,
    SynthesizeVoice,
)

from dsm_mlx import load_stt, load_tts
from dsm_mlx.audio import WavWriter, read, to_s16le

PYTHON = os.environ.get("DSM_MLX_HOMEASSISTANT_PYTHON")
CLIENT = Path(__file__).parent / "clients/home_assistant_client.py"
TEXT = "The bus was late because the road was full of snow."
SOUND = {"rate": 16_000, "width": 2, "channels": 1}


@pytest.fixture(scope="module")
def server():
    models = ["--stt", "tiny", "--tts", "tiny", "--port", "0", "--wyoming", "127.0.0.1:0"]
    with Served(*SERVE[1:], *models) as server:
        yield server


@pytest.fixture(scope="module")
def pcm():
    return read("demos/audio/bus.wav", target=16_000)


@pytest.mark.skipif(
    not PYTHON, reason="DSM_MLX_HOMEASSISTANT_PYTHON names no Python that has homeassistant"
)
def test_its_own_integration(server, pcm, tmp_path):
    path = str(tmp_path / "sound.wav")
    with WavWriter(path, 16_000) as file:
        file.write(pcm)
    command = [PYTHON, CLIENT, str(server.wyoming), path, TEXT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["name"], found["platforms"]) == ("dsm-mlx", ["stt", "tts"])
    assert found["languages"] == [["en"], ["en"]] and found["streams"]
    assert found["voices"] == sorted(load_tts("tiny").voices())
    assert found["text"] == load_stt("tiny").transcribe(path).text
    assert found["whole"][0] == "wav" and found["whole"][1] > 24_000
    rate, samples, pieces = found["streamed"]
    assert rate == 24_000 and samples > 24_000 and pieces > 10


# ---- Home Assistant 2026.11


async def write_text(client, voice):
    """The text while it is written, and then all of it, for servers that know no other way."""
    await client.write_event(SynthesizeStart(voice=voice).event())
    for word in TEXT.split():
        await client.write_event(SynthesizeChunk(text=f"{word} ").event())
        await asyncio.sleep(0)
    await client.write_event(Synthesize(text=TEXT, voice=voice).event())
    await client.write_event(SynthesizeStop().event())


async def read_sound(client) -> np.ndarray:
    """What it plays: one beginning, then pieces until all has come, and no error."""
    rate, data = 0, b""
    while not SynthesizeStopped.is_type((event := await client.read_event()).type):
        assert not Error.is_type(event.type)
        if rate and AudioChunk.is_type(event.type):
            data += AudioChunk.from_event(event).audio
        elif AudioStart.is_type(event.type):
            assert not rate
            rate = AudioStart.from_event(event).rate
    assert rate == 24_000
    return np.frombuffer(data, "<i2")


@pytest.mark.thorough
@pytest.mark.parametrize("name", [None, "max"])
def test_a_reply_is_said_once_while_it_is_written(server, name):
    async def say():
        async with AsyncTcpClient("127.0.0.1", server.wyoming) as client:
            voice = name and SynthesizeVoice(name=name)
            writing = asyncio.ensure_future(write_text(client, voice))
            sound = await asyncio.wait_for(read_sound(client), 60)
            await writing
            return sound

    assert 1.5 < asyncio.run(say()).size / 24_000 < 6  # seconds: twice would be longer


@pytest.mark.thorough
def test_sound_is_sent_while_the_answer_is_waited_for(server, pcm):
    """Both at once, and what else comes before the transcript is dropped."""

    async def send(client):
        await client.write_event(AudioStart(**SOUND).event())
        data = to_s16le(pcm)
        for start in range(0, len(data), 2048):
            chunk = AudioChunk(**SOUND, audio=data[start : start + 2048])
            await client.write_event(chunk.event())
        await client.write_event(AudioStop().event())

    async def receive(client):
        while not Transcript.is_type((event := await client.read_event()).type):
            assert not Error.is_type(event.type)
        return Transcript.from_event(event).text

    async def hear():
        async with AsyncTcpClient("127.0.0.1", server.wyoming) as client:
            await client.write_event(Transcribe(language="en").event())
            _, text = await asyncio.wait_for(asyncio.gather(send(client), receive(client)), 60)
            return text

    assert asyncio.run(hear()) == load_stt("tiny").transcribe(pcm, sample_rate=16_000).text
