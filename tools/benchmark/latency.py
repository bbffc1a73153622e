"""What a user waits for: from the start of a process to its first word or its first sound."""

from __future__ import annotations

import json
import subprocess
import sys
import time

_FIRST_WORD = """
import json, sys, time
start, model, bits, audio = json.loads(sys.argv[1])
import dsm_mlx
stt = dsm_mlx.load_stt(model, bits=bits)
loaded = time.time() - start
for heard in stt.transcribe_events([audio]):
    if any(isinstance(event, dsm_mlx.Word) for event in heard.events):
        break
print(json.dumps({"loaded": loaded, "first word": time.time() - start}))
"""
_FIRST_SOUND = """
import json, sys, time
start, model, bits, text = json.loads(sys.argv[1])
import dsm_mlx
tts = dsm_mlx.load_tts(model, bits=bits)
loaded = time.time() - start
with tts.stream() as stream:
    stream.feed(text)
    stream.end()
    next(stream)
    print(json.dumps({"loaded": loaded, "first sound": time.time() - start}))
"""


def first_word(model: str, bits: int | None, audio: str) -> dict[str, float]:
    """Seconds from the start of a process until it has loaded `model` and heard a word."""
    return _run(_FIRST_WORD, model, bits, audio)


def first_sound(model: str, bits: int | None, text: str) -> dict[str, float]:
    """Seconds from the start of a process until it has loaded `model` and said a frame."""
    return _run(_FIRST_SOUND, model, bits, text)


def _run(code: str, *values) -> dict[str, float]:
    arguments = json.dumps([time.time(), *values])
    done = subprocess.run(
        [sys.executable, "-c", code, arguments], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ValueError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)
