"""Transcribe recordings and show each word with its times.

python demos/transcribe.py demos/audio/*.wav
"""

import sys

import dsm_mlx

stt = dsm_mlx.load_stt()
for path, result in zip(sys.argv[1:], stt.transcribe(sys.argv[1:]), strict=True):
    print(path)
    for word in result.words:
        print(f"  {word.start:6.2f} - {word.end:6.2f}  {word.text}")
