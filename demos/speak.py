"""Speak what comes through a pipe, or is typed, while it is still being written.

echo "Hello there." | python demos/speak.py [MODEL [VOICE]]
"""

import sys
import threading

import dsm_mlx
from dsm_mlx.audio import Speaker

if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__))
model, voice = [*sys.argv[1:], None, None][:2]


def read(stream) -> None:
    for line in sys.stdin:
        try:
            stream.feed(line)
        except ValueError as error:  # noqa: PERF203  (an unknown tag; the rest is said)
            print(error, file=sys.stderr)
    stream.end()


try:
    with Speaker() as speaker, dsm_mlx.load_tts(model) as tts, tts.stream(voice) as stream:
        threading.Thread(target=read, args=[stream], daemon=True).start()
        for chunk in stream:
            speaker.write(chunk.audio)
            for word in chunk.words:
                print(word.text, end=" ", flush=True)
        speaker.drain()
except (dsm_mlx.AudioError, dsm_mlx.CheckpointError) as error:  # no loudspeaker; no such model
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    pass
