"""A conversation: what is heard in a turn is answered aloud, turn after turn."""

import sys

import numpy as np

from dsm_mlx import EndOfTurn, Word, load_stt, load_tts
from dsm_mlx.audio import read

ANSWERS = {"bus": "The train leaves at nine.", "kitchen": "Good morning, how are you?"}
PAUSE = np.zeros(3 * 24_000, np.float32)


def turns(stt, recordings):
    """The words of each turn, as one hears that it has ended."""
    said: list[str] = []
    sound = (piece for path in recordings for piece in (read(path), PAUSE))
    for event in stt.listen(sound):
        if isinstance(event, Word):
            said.append(event.text)
        elif isinstance(event, EndOfTurn) and said:
            yield " ".join(said)
            said.clear()


with load_stt() as stt, load_tts() as tts:
    for heard in turns(stt, sys.argv[1:]):
        about = next((word for word in heard.split() if word in ANSWERS), "kitchen")
        answer = tts.synthesize(ANSWERS[about], seed=1)
        print(f"heard: {heard}")
        print(f"answered: {stt.transcribe(answer.audio, sample_rate=answer.sample_rate).text}")
