"""An LLM that speaks while it writes, aloud or to a file: python demos/speak_llm.py [OUT.wav]"""

import asyncio
import sys

from dsm_mlx import AudioError, load_tts
from dsm_mlx.audio import Speaker, WavWriter


async def llm(question: str):
    """In the place of a real one: whatever gives pieces of text as they come."""
    for token in f"You asked {question} The answer is that the train leaves at nine.".split():
        await asyncio.sleep(0.05)
        yield token + " "


async def main(player) -> None:
    async for chunk in load_tts().speak(llm("when does the train leave?")):
        await asyncio.to_thread(player.write, chunk.audio)
        print("".join(f"{word.text} " for word in chunk.words), end="", flush=True)
    print()


if {"-h", "--help"} & set(sys.argv):
    sys.exit(print(__doc__))
try:
    with WavWriter(sys.argv[1], 24_000) if sys.argv[1:] else Speaker() as player:
        asyncio.run(main(player))
except AudioError as error:  # no loudspeaker, or no such folder
    sys.exit(f"error: {error}")
except KeyboardInterrupt:
    sys.exit(130)
