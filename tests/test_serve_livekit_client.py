"""LiveKit's plugins and an agent of its, in an environment of their own, with `tiny`."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from commands import SERVE
from serving import Served

from dsm_mlx import load_stt
from dsm_mlx.audio import WavWriter, read

PYTHON = os.environ.get("DSM_MLX_LIVEKIT_PYTHON")
CLIENTS = Path(__file__).parent / "clients"
CLIENT, AGENT = CLIENTS / "livekit_client.py", CLIENTS / "livekit_agent_client.py"
KEY = "a-secret-key"

pytestmark = pytest.mark.skipif(
    not PYTHON, reason="DSM_MLX_LIVEKIT_PYTHON names no Python that has the plugins"
)


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_its_words_are_those_of_transcribe(tmp_path, rate):
    path = str(tmp_path / "sound.wav")
    with WavWriter(path, rate) as file:
        file.write(read("demos/audio/bus.wav", target=rate))
    words = load_stt("tiny").transcribe(path).words
    model = ["--stt", "tiny", "--tts", "none", "--port", "0", "--api-key", KEY]
    with Served(*SERVE[1:], *model) as server:
        url = server.url("/api/asr-streaming", "ws")
        command = [PYTHON, CLIENT, url, KEY, path, str(len(words))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [word["text"] for word in found] == [word.text for word in words]
    starts = [word["start"] for word in found]
    np.testing.assert_allclose(starts, [word.start for word in words], atol=0.08)


def test_an_agent_hears_a_turn_and_answers(tmp_path):
    """That of the demo, without a room; the end of the turn is the model's."""
    path = str(tmp_path / "sound.wav")
    with WavWriter(path, 24_000) as file:
        file.write(read("demos/audio/bus.wav"))
    models = ["--stt", "tiny", "--tts", "tiny", "--port", "0", "--api-key", KEY]
    with Served(*SERVE[1:], *models) as server:
        there = os.environ | {"DSM_SERVER": server.url(""), "DSM_API_KEY": KEY}
        command = [PYTHON, AGENT, path]
        done = subprocess.run(command, capture_output=True, text=True, timeout=200, env=there)
        assert done.returncode == 0, done.stderr
        server.free()
    found = json.loads(done.stdout)
    (who, heard), (other, said) = found["talk"]
    assert (who, other) == ("user", "assistant") and said == f"You said: {heard}."
    assert "the bus was late because the road was full of snow".startswith(heard)
    assert found["states"][:2] == ["speaking", "listening"]
    assert found["rate"] == 24_000 and 1 < sum(found["heard"]) < 12
