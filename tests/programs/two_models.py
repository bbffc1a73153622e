"""Two listeners at once to the same sound: one is quick and one takes its time to be right."""

import asyncio
import sys

import dsm_mlx
from dsm_mlx.audio import read


async def main(path: str) -> None:
    pcm = read(path)
    with dsm_mlx.load_stt("tiny") as quick, dsm_mlx.load_stt("tiny", dtype="float32") as careful:

        async def hear(stt, delay: float) -> tuple[str, float]:
            words, first = [], 0.0
            async with stt.stream(delay) as stream:
                for start in range(0, pcm.size, 960):
                    await stream.ready()
                    stream.push(pcm[start : start + 960])
                    stream.mark(start / 24_000)
                stream.end()
                now = 0.0
                async for event in stream:
                    if isinstance(event, dsm_mlx.Mark):
                        now = event.value
                    elif isinstance(event, dsm_mlx.Word):
                        first = first or now
                        words.append(event.text)
            return " ".join(words), first

        (draft, soon), (text, late) = await asyncio.gather(hear(quick, 0.16), hear(careful, 2.5))
    print(f"{soon:.1f} s: {draft}")
    print(f"{late:.1f} s: {text}")


asyncio.run(main(sys.argv[1]))
