"""A sliding window: each second of a recording, all that would be known if it ended there."""

import sys

from dsm_mlx import Word, load_stt
from dsm_mlx.audio import read

pcm = read(sys.argv[1])
with load_stt() as stt, stt.stream() as stream:
    heard = []
    for start in range(0, pcm.size, 24_000):
        heard += [e for e in stream.feed(pcm[start : start + 24_000]) if isinstance(e, Word)]
        with stream.fork() as window:
            more = [e for e in window.flush() if isinstance(e, Word)]
        print(f"{stream.time:4.1f} s:", *(word.text for word in heard + more))
