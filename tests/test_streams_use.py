"""A stream is fed, or pushed and iterated: what each way allows, and in what order."""

import asyncio
import threading
import time

import numpy as np
import pytest
from streaming import (
    RATE,
    all_free,
    fed,
    own,
    rest,
    run,
    sound,
    without_partials,
    words,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import AudioError, Mark, Partial

PCM = sound(3.03)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("use")))


@pytest.fixture(scope="module")
def delayed(small):
    """With a prefix of silence, a delay of 2.5 s and no pause heads."""
    return dsm_mlx.load_stt(small("stt-tiny-26"))


@pytest.fixture(scope="module")
def tts(small, tmp_path_factory):
    return dsm_mlx.load_tts(own(small("tts-tiny"), tmp_path_factory.mktemp("use")))


@pytest.fixture(scope="module")
def expected(stt):
    events = fed(stt, PCM)
    assert len(words(events)) > 3
    return events


def feeding(stream):
    return {"feed": lambda: stream.feed(PCM[:100])}


def pushing(stream):
    async def anext():
        await stream.__anext__()

    async def enter():
        async with stream:
            raise AssertionError

    return {
        "push": lambda: stream.push(PCM[:100]),
        "iter": lambda: iter(stream),
        "next": lambda: next(stream),
        "aiter": lambda: aiter(stream),
        "anext": lambda: run(anext()),
        "async with": lambda: run(enter()),
        "mark": lambda: stream.mark(1),
        "end": stream.end,
        "ready": lambda: run(stream.ready()),
    }


@pytest.mark.parametrize("first", ["feed", "flush", "reset"])
def test_a_stream_that_is_fed_is_not_pushed(stt, first):
    with stt.stream() as stream:
        {"feed": lambda: stream.feed(PCM[:100])}.get(first, getattr(stream, first))()
        for name, call in pushing(stream).items():
            with pytest.raises(ValueError, match="is fed, so it cannot be pushed or iterated"):
                call()
                print(name)
        stream.feed(PCM[100:])
    assert len(words(stream.final_events)) > 0


@pytest.mark.parametrize("first", ["push", "iter", "aiter", "mark", "ready", "async with"])
def test_a_stream_that_is_pushed_is_not_fed(stt, expected, first):
    with stt.stream() as stream:
        if first == "async with":
            run(stream.__aenter__())
        elif first == "push":
            stream.push(PCM[:0])
        else:
            pushing(stream)[first]()
        with pytest.raises(ValueError, match="is pushed, so it cannot be fed"):
            stream.feed(PCM)
        stream.push(PCM)
        stream.end()
        assert [e for e in without_partials(stream) if not isinstance(e, Mark)] == expected
    with stt.stream() as stream:
        pushing(stream)["mark"]()
        assert stream.flush() == stream.reset() == []


def test_next_is_a_first_call_too(stt, expected):
    """Without `iter` before it, the stream is pushed from then on, and partial words come."""
    with stt.stream() as stream:
        pusher = threading.Timer(0.1, lambda: stream.push(PCM))
        pusher.start()
        first = next(stream)
        with pytest.raises(ValueError, match="is pushed"):
            stream.feed(PCM)
        pusher.join()
        assert without_partials([first, *rest(stream)]) == expected


def test_one_iterator_at_a_time(stt, tts):
    async def both(stream):
        one = asyncio.ensure_future(stream.__anext__())
        await asyncio.sleep(0)
        with pytest.raises(ValueError, match="iterated already"):
            await stream.__anext__()
        with pytest.raises(ValueError, match="iterated already"):
            next(stream)
        one.cancel()
        with pytest.raises(asyncio.CancelledError):
            await one

    with stt.stream() as stream, tts.stream() as speech:
        run(both(stream))
        run(both(speech))
        waiting = threading.Thread(target=lambda: list(stream), daemon=True)
        waiting.start()
        while stream._alone._holder is None:
            time.sleep(0.001)
        with pytest.raises(ValueError, match="iterated already"):
            next(stream)
        stream.end()
        waiting.join()
    parts = stt.transcribe_events([PCM], sample_rate=RATE)
    run(both(parts))
    parts.close()


def test_what_is_queued_happens_in_order(stt):
    first, second = sound(1.6, 1), sound(1.2, 2)
    with stt.stream() as stream:
        stream.mark("begin")
        stream.push(first)
        stream.flush()
        stream.mark("flushed")
        stream.push(second)
        stream.reset()
        stream.mark({"reset": [1]})
        stream.push(first)
        stream.mark(None)
        events = rest(stream)
    marks = [event.value for event in events if isinstance(event, Mark)]
    assert marks == ["begin", "flushed", {"reset": [1]}, None]
    assert events[0] == Mark("begin")
    parts, part = [], []
    for event in events:
        if isinstance(event, Mark):
            parts.append(part)
            part = []
        else:
            part.append(event)
    with stt.stream() as stream:
        assert parts[1] == stream.feed(first) + stream.flush()
        assert parts[2] == stream.feed(second) + stream.reset()
        assert parts[3] + part == stream.feed(first) + stream.flush()
    assert [text for text, _ in words(parts[3] + part)] == [
        word.text for word in stt.transcribe(first, sample_rate=RATE).words
    ]


def test_a_mark_waits_for_whole_frames_only(stt):
    with stt.stream() as stream:
        stream.push(PCM[:1919])
        stream.mark(1)
        assert next(stream) == Mark(1)
        stream.push(PCM[1919:2000])
        stream.mark(2)
        events = [next(stream), next(stream)]
        if isinstance(events[0], Partial):
            events = [events[1], next(stream)]
    assert events[1] == Mark(2) and not isinstance(events[0], Mark)


def test_after_the_end_nothing_more_is_taken(stt):
    with stt.stream() as stream:
        stream.push(PCM[:2000])
        stream.end()
        stream.end()
        for call in (lambda: stream.push(PCM), lambda: stream.mark(1), stream.flush, stream.reset):
            with pytest.raises(ValueError, match=r"ended \(end\(\) was called\)"):
                call()
        assert list(stream)
        assert list(stream) == []


def test_leaving_the_block_flushes_what_is_fed_and_not_what_is_pushed(stt, expected):
    with stt.stream() as stream:
        events = stream.feed(PCM)
    assert events + stream.final_events == expected and stream.rest is stream.final_events

    async def left():
        async with stt.stream() as stream:
            stream.push(PCM)
        return stream

    with stt.stream() as pushed:
        pushed.push(PCM)
    for stream in (pushed, run(left())):
        assert stream.final_events == []
        for call in (
            lambda s=stream: s.push(PCM),
            stream.end,
            stream.flush,
            lambda s=stream: iter(s),
        ):
            with pytest.raises(ValueError, match="the stream is closed"):
                call()
        with pytest.raises(StopIteration):  # what was known may still be taken
            while True:
                next(stream)
    assert all_free(stt)


def test_leaving_by_an_error_does_not_flush(stt):
    with pytest.raises(KeyError), stt.stream() as stream:
        stream.feed(PCM)
        raise KeyError
    assert stream.final_events == [] and all_free(stt)


def test_bad_sound_is_refused_whole(stt, expected):
    with stt.stream() as stream:
        for bad in (np.full(3000, np.nan), np.full(3000, 1e4, np.float32)):
            with pytest.raises(AudioError, match="pcm"):
                stream.push(bad.astype(np.float32))
        with pytest.raises(ValueError, match=r"pcm has shape \(2, 3\)"):
            stream.push(np.zeros((2, 3), np.float32))
        assert stream.waiting == 0 and stream.time == 0
        stream.push(PCM)
        assert rest(stream) == expected


def test_what_waits_counts_what_was_pushed(stt, delayed):
    """And no silence that the library adds: a model's prefix, a flush."""
    for model in (stt, delayed):
        with model.stream() as stream:
            assert stream.waiting == 0
            stream.push(PCM[:700])  # too little for a frame more
            stream.mark(1)
            assert next(stream) == Mark(1)
            assert stream.waiting == 700 and stream.time == 700 / RATE
            stream.flush()
            stream.mark(2)
            while next(stream) != Mark(2):
                pass
            assert stream.waiting == 0
