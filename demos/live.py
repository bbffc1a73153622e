"""Listen to the microphone and answer each turn: the skeleton of a voice assistant.

python demos/live.py [MODEL]
"""

import sys

import dsm_mlx
from dsm_mlx import EndOfTurn, Word
from dsm_mlx.audio import Microphone

if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__))
try:
    with (
        Microphone() as microphone,
        dsm_mlx.load_stt(sys.argv[1] if len(sys.argv) > 1 else None) as stt,
        stt.stream() as stream,
    ):
        said: list[str] = []
        print("speak; Ctrl-C ends")
        for block in microphone:
            for event in stream.feed(block):
                if isinstance(event, Word):
                    said.append(event.text)
                elif isinstance(event, EndOfTurn):
                    # The text lags behind the sound: fetch the last words without waiting.
                    said += [e.text for e in stream.flush() if isinstance(e, Word)]
                    print(f"you said: {' '.join(said)}")
                    said.clear()
except (dsm_mlx.AudioError, dsm_mlx.CheckpointError) as error:  # no microphone; no such model
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    pass
