"""Listen to the microphone and answer each turn: the skeleton of a voice assistant.

python demos/live.py [MODEL]
"""

import sys
from contextlib import suppress

import dsm_mlx
from dsm_mlx import EndOfTurn, Word
from dsm_mlx.audio import Microphone

stt = dsm_mlx.load_stt(sys.argv[1] if len(sys.argv) > 1 else None)
said: list[str] = []
with Microphone() as microphone, stt.stream() as stream, suppress(KeyboardInterrupt):
    print("speak; Ctrl-C ends")
    for block in microphone:
        for event in stream.feed(block):
            if isinstance(event, Word):
                said.append(event.text)
            elif isinstance(event, EndOfTurn):
                # The text lags behind the sound: fetch the last words without waiting for them.
                said += [e.text for e in stream.flush() if isinstance(e, Word)]
                print(f"you said: {' '.join(said)}")
                said.clear()
