"""Tasks cancelled at every await, and at random ones: nothing is lost, nothing twice, all freed.

DSM_MLX_SEEDS=500 plays more random games than the suite does.
"""

import asyncio
import os
import random
from contextlib import suppress
from itertools import count

import numpy as np
import pytest
from streaming import (
    RATE,
    all_free,
    cut,
    eventually,
    fed,
    own,
    pieces,
    run,
    sound,
    sound_of,
    without_partials,
    words,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx.stt import session, stream

SEEDS = min(int(os.environ.get("DSM_MLX_SEEDS", "6")), 10_000)
PCM = sound(1.6)
TEXT = ["One two ", "three ", "four."]


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("cancel")))


@pytest.fixture(scope="module")
def tts(small, tmp_path_factory):
    return dsm_mlx.load_tts(own(small("tts-tiny"), tmp_path_factory.mktemp("cancel")))


@pytest.fixture(scope="module")
def heard(stt):
    return fed(stt, PCM)


@pytest.fixture(scope="module")
def said(tts):
    return tts.synthesize("".join(TEXT), seed=1)


@pytest.fixture(autouse=True)
def little_room(monkeypatch):
    """So that pushers and takers have to wait for each other."""
    monkeypatch.setattr(stream, "WAITING_SECONDS", 0.2)
    monkeypatch.setattr(session, "UNTAKEN_SECONDS", 0.4)


def same(chunks, said):
    np.testing.assert_array_equal(sound_of(chunks), said.audio)
    assert words(w for c in chunks for w in c.words) == words(said.words)


async def at_each_await(make):
    """Call `make` and cancel what it gives at its first await, then again at the second, and so
    on; what the first one that reached its end returned, and how many were cancelled."""
    for at in count():
        try:
            return await cut(make(), at), at
        except asyncio.CancelledError:  # noqa: PERF203
            continue


# ---- at every await, one after another


def test_what_goes_on_after_it_was_cancelled(stt, tts, heard, said):
    """Pushing, taking, waiting for room; taking speech; taking the events of recordings."""

    async def pushing(stream, left):
        while left:
            await stream.ready()
            stream.push(left[0])
            left.pop(0)

    async def taking(items, found):
        async for item in items:
            found.append(item)

    async def main():
        events, chunks, parts = [], [], []
        async with stt.stream() as stream:
            left, cancelled = pieces(PCM, 0), []
            pusher = asyncio.ensure_future(at_each_await(lambda: pushing(stream, left)))
            taker = asyncio.ensure_future(at_each_await(lambda: taking(stream, events)))
            cancelled.append((await pusher)[1])
            stream.end()
            cancelled.append((await taker)[1])
        async with tts.stream(seed=1) as speech:
            for text in TEXT:
                speech.feed(text)
            speech.end()
            cancelled.append((await at_each_await(lambda: taking(speech, chunks)))[1])
        recordings = stt.transcribe_events([PCM, PCM[:9000]], sample_rate=RATE)
        cancelled.append((await at_each_await(lambda: taking(recordings, parts)))[1])
        return events, chunks, parts, cancelled

    events, chunks, parts, cancelled = run(main())
    assert without_partials(events) == heard
    same(chunks, said)
    for index, events in enumerate([heard, fed(stt, PCM[:9000])]):
        assert [e for part in parts if part.index == index for e in part.events] == events
    assert min(cancelled) > 2, cancelled
    assert all_free(stt, tts) and stt.streams == tts.streams == 0


@pytest.mark.thorough
def test_what_owns_its_rows_frees_them_when_it_is_cancelled(stt, tts):
    """listen, speak, atranscribe, asynthesize: they begin anew, and at last they end."""
    pcm, texts = PCM[:7000], ["One"]
    said = tts.synthesize("One", seed=1)

    async def source(items):
        for item in items:
            await asyncio.sleep(0)
            yield item

    async def all_of(items):
        return [item async for item in items]

    async def owning(make):
        found, cancelled = await at_each_await(make)
        assert cancelled > 0
        return found

    def listening():
        return all_of(stt.listen(source([pcm[:4000], pcm[4000:]])))

    def speaking():
        return all_of(tts.speak(source(texts), seed=1))

    assert without_partials(run(owning(listening))) == fed(stt, pcm)
    assert all_free(stt) and stt.streams == 0
    same(run(owning(speaking)), said)
    assert all_free(tts) and tts.streams == 0
    found = run(owning(lambda: stt.atranscribe([pcm], sample_rate=RATE)))
    assert found == [stt.transcribe(pcm, sample_rate=RATE)]
    speech = run(owning(lambda: tts.asynthesize("One", seed=1)))
    np.testing.assert_array_equal(speech.audio, said.audio)
    assert all_free(stt, tts)


def test_waiting_for_a_row_is_cancelled_too(small, tmp_path):
    """No thread and no recording is left behind, although no row is ever free."""
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path), max_streams=1)

    async def main():
        with stt.stream() as stream:
            for make in (
                lambda: stt.atranscribe(PCM, sample_rate=RATE),
                lambda: stt.transcribe_events([PCM], sample_rate=RATE).__anext__(),
            ):
                with pytest.raises(asyncio.TimeoutError):
                    await asyncio.wait_for(make(), 0.3)
            one_left = await asyncio.to_thread(eventually, lambda: stt.stats()["rows_in_use"] == 1)
            stream.close()
        return one_left

    assert run(main())
    assert all_free(stt)


# ---- at random, all at once


class Game:
    """Everything at the same time in one loop, where a hand cancels and begins again."""

    def __init__(self, stt, tts, seed):
        self.stt, self.tts, self.rng = stt, tts, random.Random(seed)
        self.cancelled = 0

    async def play(self):
        parts = (self.pushed, self.listened, self.spoken, self.fed, self.recordings, self.whole)
        return await asyncio.gather(*(part() for part in parts))

    async def until_done(self, make):
        """Let it run for a random time, cancel it, begin it anew; at last let it end."""
        for attempt in count():
            task = asyncio.ensure_future(make())
            if attempt == 0 or self.rng.random() < 0.6:
                for _ in range(self.rng.randrange(4)):
                    await asyncio.sleep(0)
                await asyncio.sleep(self.rng.choice([0, 0.001, 0.004, 0.016]))
                self.cancelled += task.cancel()
            with suppress(asyncio.CancelledError):
                return await task

    async def pushed(self):
        stream, left, events = self.stt.stream(), pieces(PCM, self.rng.randrange(99)), []

        async def push():
            while left:
                await stream.ready()
                stream.push(left.pop(0))
            stream.end()

        async def take():
            async for event in stream:
                events.append(event)  # noqa: PERF401

        async with stream:
            await asyncio.gather(self.until_done(push), self.until_done(take))
        return without_partials(events)

    async def listened(self):
        async def listen():
            source = pieces(PCM, self.rng.randrange(99))
            return without_partials([event async for event in self.stt.listen(source)])

        return await self.until_done(listen)

    async def spoken(self):
        async def speak():
            return [chunk async for chunk in self.tts.speak(TEXT, seed=1)]

        return await self.until_done(speak)

    async def fed(self):
        chunks, left = [], list(TEXT)

        async def take():
            async for chunk in speech:
                chunks.append(chunk)  # noqa: PERF401

        async with self.tts.stream(seed=1) as speech:
            taking = asyncio.ensure_future(self.until_done(take))
            while left:
                await asyncio.sleep(self.rng.random() / 200)
                speech.feed(left.pop(0))
            speech.end()
            await taking
        return chunks

    async def recordings(self):
        parts = self.stt.transcribe_events([PCM, PCM], sample_rate=RATE, batch=1)
        events = [[], []]

        async def take():
            async for part in parts:
                assert part.error is None
                events[part.index] += part.events

        await self.until_done(take)
        return events

    async def whole(self):
        async def transcribe():
            return await self.stt.atranscribe(PCM, sample_rate=RATE)

        async def synthesize():
            return await self.tts.asynthesize("".join(TEXT), seed=1)

        return await self.until_done(transcribe), await self.until_done(synthesize)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_random_game(stt, tts, heard, said, seed):
    game = Game(stt, tts, seed)
    pushed, listened, spoken, fed, recordings, (transcript, speech) = run(game.play())
    assert pushed == listened == heard
    assert recordings == [heard, heard]
    same(spoken, said)
    same(fed, said)
    assert transcript == stt.transcribe(PCM, sample_rate=RATE)
    np.testing.assert_array_equal(speech.audio, said.audio)
    assert game.cancelled > 0
    assert all_free(stt, tts) and stt.streams == tts.streams == 0
