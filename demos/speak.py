"""Speak what comes through a pipe while it is still being written.

echo "Hello there." | python demos/speak.py tiny [VOICE]
"""

import sys
import threading

import dsm_mlx
from dsm_mlx.audio import Speaker

tts = dsm_mlx.load_tts(sys.argv[1])
voice = sys.argv[2] if len(sys.argv) > 2 else None
with Speaker() as speaker, tts.stream(voice) as stream:

    def read() -> None:
        for line in sys.stdin:
            stream.feed(line)
        stream.end()

    threading.Thread(target=read, daemon=True).start()
    for chunk in stream:
        speaker.write(chunk.audio)
        for word in chunk.words:
            print(word.text, end=" ", flush=True)
    speaker.drain()
