"""Somebody speaks into what the program says: it falls silent at their first word."""

import asyncio
import sys

from dsm_mlx import Word, load_stt, load_tts
from dsm_mlx.audio import read


async def speak(speech, played) -> None:
    async for chunk in speech:
        played.append(chunk)
        await asyncio.sleep(chunk.audio.size / 24_000)  # a loudspeaker takes so long


async def interrupted(stt, microphone, speech) -> str:
    async for event in stt.listen(microphone):
        if isinstance(event, Word):
            speech.cancel()
            return event.text
    return ""


async def user(pcm):
    await asyncio.sleep(0.5)
    for start in range(0, pcm.size, 1920):
        yield pcm[start : start + 1920]
        await asyncio.sleep(0.04)  # twice as fast as life


async def main() -> None:
    played = []
    with load_stt() as stt, load_tts() as tts:
        async with tts.stream() as speech:
            speech.feed("This is a long story, and nobody will want to hear it to its end. " * 9)
            speech.end()
            speaking = asyncio.create_task(speak(speech, played))
            word = await interrupted(stt, user(read(sys.argv[1])), speech)
            await speaking  # which ends at once
    said = [word.text for chunk in played for word in chunk.words]
    print(f"heard {word!r} after saying {len(said)} of 126 words")


asyncio.run(main())
