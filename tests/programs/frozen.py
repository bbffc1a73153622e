"""Hears one file and says how many seconds of speech were made, or is a command: stt, about.

For test_frozen.py, which makes an app of it.
"""

import sys
from multiprocessing import freeze_support

import dsm_mlx
from dsm_mlx.cli import about, transcribe

if __name__ == "__main__":
    freeze_support()
    what, *arguments = sys.argv[1:]
    if what == "stt":
        sys.exit(transcribe.main(arguments))
    if what == "about":
        sys.exit(about.main(arguments))
    print(dsm_mlx.load_stt("tiny").transcribe(what).text)
    speech = dsm_mlx.load_tts("tiny").synthesize("Good morning.", seed=1)
    print("spoken" if speech.duration > 0.5 else "nothing was said")
