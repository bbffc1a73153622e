"""A service that knows its limits: it takes so many streams, so much sound, and says so."""

import asyncio
import sys

import numpy as np

from dsm_mlx import BusyError, Pause, load_stt

SECOND = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)


async def client(stt, name: str, patience: float) -> None:
    try:
        stream = await asyncio.to_thread(stt.stream, wait=patience)
    except BusyError:
        print(f"{name}: no row")
        return
    async with stream:
        for _ in range(30):
            try:
                stream.push(SECOND)
            except BusyError:  # a client that sends faster than we can hear
                await stream.ready()
                stream.push(SECOND)
            while stream.waiting > 9 * 24_000:
                await stream.__anext__()
        stream.end()
        heard = [event async for event in stream if isinstance(event, Pause)]
    print(f"{name}: heard to {heard[-1].time:g} s")


async def main() -> None:
    with load_stt(sys.argv[1], max_streams=2) as stt:
        clients = [client(stt, "one", 0), client(stt, "two", 0), client(stt, "patient", 60)]
        tasks = [asyncio.create_task(c) for c in clients[:2]]
        while stt.streams < 2:
            await asyncio.sleep(0.001)
        tasks += [asyncio.create_task(clients[2]), asyncio.create_task(client(stt, "three", 0))]
        await asyncio.gather(*tasks)
        print(f"open at the end: {stt.streams} of {stt.max_streams}")


asyncio.run(main())
