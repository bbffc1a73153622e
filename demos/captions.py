"""Captions of the microphone or a recording as it is heard: python demos/captions.py [RECORDING]"""

import asyncio
import sys

from dsm_mlx import AudioError, EndOfTurn, Partial, Word, load_stt
from dsm_mlx.audio import Microphone, Sound


async def captions(source) -> None:
    line = ""
    async for event in load_stt().listen(source):
        if isinstance(event, Partial | Word):
            print(f"\r{line}{event.text}", end=" ", flush=True)
            line += f"{event.text} " if isinstance(event, Word) else ""
        elif isinstance(event, EndOfTurn):
            line = ""
            print()
    print()


if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__))
try:
    with Sound(sys.argv[1], target=24_000) if sys.argv[1:] else Microphone() as source:
        asyncio.run(captions(source.blocks() if sys.argv[1:] else source))
except AudioError as error:  # no microphone, or no such recording
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    print()
