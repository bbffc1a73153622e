"""Event loops that come and go: what one leaves behind goes on in another, or is freed."""

import asyncio
import gc
import threading
import time
import weakref

import numpy as np
import pytest
from streaming import (
    RATE,
    all_free,
    eventually,
    fed,
    own,
    pieces,
    rest,
    run,
    sound,
    sound_of,
    without_partials,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx

PCM = sound(1.6)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("loops")))


@pytest.fixture(scope="module")
def tts(small, tmp_path_factory):
    return dsm_mlx.load_tts(own(small("tts-tiny"), tmp_path_factory.mktemp("loops")))


def abandoned(coroutine, seconds=0.05):
    """A loop that is closed over a task that waits, which is still held."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    task._log_destroy_pending = False
    loop.run_until_complete(asyncio.sleep(seconds))
    assert not task.done()
    loop.close()
    return task


async def take(items, found):
    async for item in items:
        found.append(item)


def test_a_stream_goes_on_in_another_loop(stt):
    """Also while the task of the closed one is still held, and when that is collected later."""
    events, stream = [], stt.stream()
    left = abandoned(take(stream, events))
    stream.push(PCM)
    second = abandoned(take(stream, events), 0.3)
    stream.end()
    more = []
    run(take(stream, more))
    del left, second
    gc.collect()
    stream.close()
    assert without_partials(events + more) == fed(stt, PCM)
    assert all_free(stt)


def test_waiting_for_room_goes_on_in_another_loop(stt, monkeypatch):
    with stt.stream() as stream:
        monkeypatch.setattr(type(stream._session), "ready", False)
        stream.push(sound(11))
        left = abandoned(stream.ready())
        monkeypatch.undo()
        dsm_mlx.runtime.worker.post()
        run(stream.ready())
        assert left is not None


def test_speech_goes_on_in_another_loop(tts):
    said = tts.synthesize("One two three four", seed=2)
    chunks, stream = [], tts.stream(seed=2)
    left = abandoned(take(stream, chunks))
    stream.feed("One two three ")
    second = abandoned(take(stream, chunks), 0.3)
    stream.feed("four")
    stream.end()
    run(take(stream, chunks))
    np.testing.assert_array_equal(sound_of(chunks), said.audio)
    del left, second
    assert all_free(tts)


def test_recordings_go_on_in_another_loop(stt):
    """What was being made when the loop was closed comes next; so it does for a plain `for`."""
    parts, found = stt.transcribe_events([PCM, PCM], sample_rate=RATE, batch=1), []
    held = [abandoned(take(parts, found), 0.001)]

    async def one_more():
        found.append(await parts.__anext__())

    def asyncio_run_that_is_cancelled():
        async def main():
            task = asyncio.ensure_future(take(parts, found))
            await asyncio.sleep(0.001)
            return task

        asyncio.run(main())

    run(one_more())
    asyncio_run_that_is_cancelled()
    held.append(abandoned(take(parts, found), 0.001))
    found += parts
    for index in range(2):
        events = [e for part in found if part.index == index for e in part.events]
        assert events == fed(stt, PCM)
    del held
    assert all_free(stt)


def test_what_a_closed_loop_leaves_behind_is_freed(stt, tts):
    """Streams that were waited for, sources that never give anything, and their rows."""

    async def silent():
        await asyncio.sleep(3600)
        yield PCM

    def forgotten(make):
        made = make()
        task = abandoned(take(made, []))
        return weakref.ref(task)

    stayed = threading.Event()

    def blocked():
        stayed.wait(60)
        yield from ()

    left = [
        forgotten(make)
        for make in (
            stt.stream,
            tts.stream,
            lambda: stt.listen(silent()),
            lambda: tts.speak(silent()),
            lambda: stt.listen(blocked()),
        )
    ]
    assert all_free(stt, tts)
    assert not any(task() for task in left)
    assert stt.streams == tts.streams == 0
    stayed.set()


def test_a_loop_ends_although_a_source_never_gives_anything(stt, tts):
    """asyncio.run joins its own pool; sources have threads that nobody waits for."""
    stayed = threading.Event()

    def blocked():
        yield PCM
        stayed.wait(60)

    def blocked_text():
        yield "One two three four five"
        stayed.wait(60)

    async def first(items):
        async for _ in items:
            return True

    async def main():
        listened = [first(stt.listen(blocked())) for _ in range(5)]
        spoken = [first(tts.speak(blocked_text())) for _ in range(5)]
        others = asyncio.create_task(stt.atranscribe(PCM, sample_rate=RATE))
        assert all(await asyncio.gather(*listened, *spoken))
        return await others

    began = time.monotonic()
    assert run(main()) == stt.transcribe(PCM, sample_rate=RATE)
    assert time.monotonic() - began < 50
    stayed.set()
    assert all_free(stt, tts) and stt.streams == tts.streams == 0


def test_closing_the_model_ends_who_listens_to_a_silent_source(small, tmp_path):
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path))
    tts = dsm_mlx.load_tts(own(small("tts-tiny"), tmp_path))

    async def silent():
        await asyncio.sleep(3600)
        yield

    async def main(model, items):
        asyncio.get_running_loop().call_later(0.1, model.close)
        await take(items, [])

    for model, make in ((stt, stt.listen), (tts, tts.speak)):
        with pytest.raises(ValueError, match="the stream is closed"):
            run(main(model, make(silent())))


def test_waking_loops_that_are_closed_while_they_are_woken(stt):
    """Many short loops over one stream, as the worker tells them of every frame."""
    stream, events = stt.stream(), []
    for piece in pieces(PCM, 1, most=3000):
        stream.push(piece)

        async def some():
            async def taking():
                async for event in stream:
                    events.append(event)  # noqa: PERF401

            task = asyncio.ensure_future(taking())
            await asyncio.sleep(0.002)
            task.cancel()

        asyncio.run(some())
    assert without_partials(events) + rest(stream) == fed(stt, PCM)
    assert eventually(lambda: not stream._session._wakers)


def test_closing_recordings_while_they_are_awaited(stt):
    async def main():
        parts = stt.transcribe_events([sound(30)] * 3, sample_rate=RATE)
        taking = asyncio.ensure_future(take(parts, []))
        await asyncio.sleep(0.05)
        await parts.aclose()
        await taking
        assert [part async for part in parts] == []

    run(main())
    assert all_free(stt)
    parts = stt.transcribe_events([sound(30)] * 3, sample_rate=RATE)
    threading.Timer(0.1, parts.close).start()
    list(parts)
    assert all_free(stt)


def test_a_recording_that_cannot_be_read_is_told_of_and_the_others_are_heard(stt, tmp_path):
    async def main():
        parts = stt.transcribe_events([tmp_path / "none.wav", PCM], sample_rate=RATE)
        return [part async for part in parts]

    found = run(main())
    assert [part.index for part in found if part.error] == [0]
    assert [e for part in found if part.index == 1 for e in part.events] == fed(stt, PCM)
    assert sorted(part.index for part in found if part.last) == [0, 1]
    assert all_free(stt)
