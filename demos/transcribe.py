"""Transcribe recordings and show each word with its times.

python demos/transcribe.py [FILE ...]        without files: the recordings in demos/audio
"""

import sys
from pathlib import Path

import dsm_mlx

if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__))
files = sys.argv[1:] or sorted(map(str, Path(__file__).parent.glob("audio/*.wav")))
try:
    stt = dsm_mlx.load_stt()
    for path, result in zip(files, stt.transcribe(files), strict=True):
        print(path)
        for word in result.words:
            print(f"  {word.start:6.2f} - {word.end:6.2f}  {word.text}")
except dsm_mlx.AudioError as error:  # it names the file
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    sys.exit(130)
