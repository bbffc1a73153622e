"""A recorder that may be stopped at any time and goes on where it was, word for word.

python resumed.py RECORDING STATE [SECONDS]      stops after so many seconds of sound
"""

import sys
from pathlib import Path

from dsm_mlx import Word, load_stt
from dsm_mlx.audio import read

recording, state, stop = sys.argv[1], Path(sys.argv[2]), float((*sys.argv, "inf")[3])
pcm = read(recording)
with load_stt() as stt:
    stream = stt.resume(state.read_bytes()) if state.exists() else stt.stream()
    with stream:
        words = []
        while stream.time < min(stop, pcm.size / 24_000):
            at = round(stream.time * 24_000)
            words += [e.text for e in stream.feed(pcm[at : at + 12_000]) if isinstance(e, Word)]
            state.write_bytes(stream.save())
        if stream.time < pcm.size / 24_000:
            stream.close()
        else:
            words += [e.text for e in stream.flush() if isinstance(e, Word)]
print(*words)
