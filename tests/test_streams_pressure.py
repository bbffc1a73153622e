"""Fast pushers and slow takers: all or nothing, bounded memory, and an error that says why."""

import asyncio

import mlx.core as mx
import numpy as np
import pytest
from streaming import (
    RATE,
    all_free,
    eventually,
    fed,
    own,
    pauses,
    rest,
    run,
    sound,
    sound_of,
    without_partials,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import BusyError

SECOND = sound(1)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("pressure")))


@pytest.fixture(scope="module")
def tts(small, tmp_path_factory):
    return dsm_mlx.load_tts(own(small("tts-tiny"), tmp_path_factory.mktemp("pressure")))


class Held:
    """A stream of which no frame is computed, so that what is pushed waits."""

    def __init__(self, stream, monkeypatch):
        monkeypatch.setattr(type(stream._session), "ready", False)
        self._monkeypatch = monkeypatch

    def let_go(self):
        self._monkeypatch.undo()
        dsm_mlx.runtime.worker.post()


def test_a_push_takes_all_or_nothing(stt, monkeypatch):
    """More than 10 s that wait: BusyError, and the stream goes on as if that had not been."""
    with stt.stream() as stream:
        held = Held(stream, monkeypatch)
        stream.push(sound(10, 1))
        assert stream.waiting == 10 * RATE
        stream.push(SECOND)  # 10 s are not more than 10 s
        for _ in range(3):
            with pytest.raises(BusyError, match=r"11\.0 s of sound wait .*ready"):
                stream.push(SECOND)
        assert stream.waiting == 11 * RATE and stream.time == 11
        with pytest.raises(asyncio.TimeoutError):
            run(asyncio.wait_for(stream.ready(), 0.1))
        held.let_go()
        run(stream.ready())
        stream.push(SECOND)
        found = rest(stream)
    assert found == fed(stt, np.concatenate([sound(10, 1), SECOND, SECOND]), 10**6)


def test_one_push_may_be_of_any_length(stt):
    pcm = sound(11)
    with stt.stream() as stream:
        stream.push(pcm)
        assert len(pauses(rest(stream))) == 138


def test_who_takes_nothing_is_told_to_the_pusher(stt, monkeypatch):
    """10 s of events that nobody takes: no more is heard, so that memory stays where it is."""
    with stt.stream() as stream:
        pushed = 0
        with pytest.raises(BusyError, match=r"125 frames of events.*ready"):
            while pushed < 100:
                assert eventually(lambda: stream.waiting < RATE or stream._session.crowded)
                stream.push(SECOND)
                pushed += 1
        assert 10 <= pushed <= 12
        assert len(pauses(stream._session.events)) == 125
        waits = stream.waiting
        assert not eventually_changes(lambda: stream.waiting, waits)
        held = Held(stream, monkeypatch)  # or what waits takes the room before it is asked for
        taken = [next(stream)]
        while not pauses(taken):
            taken.append(next(stream))
        run(stream.ready())
        held.let_go()
        assert eventually(lambda: stream._session.crowded)  # again, by what waited
        stream.push(SECOND)  # but there was room, and it was promised
        with pytest.raises(BusyError):
            stream.push(SECOND)
        found = without_partials(taken) + rest(stream)
    assert found == fed(stt, np.concatenate([SECOND] * (pushed + 1)))


def eventually_changes(value, before, tries=30):
    """Whether a value changes within some turns of the worker."""
    for _ in range(tries):
        dsm_mlx.runtime.worker.run(lambda: None)
        if value() != before:
            return True
    return False


def test_a_fast_pusher_and_a_slow_taker_stay_within_bounds(stt):
    """Half a minute is pushed as fast as it is taken; never more than 12 s of it are held."""
    most = [0, 0]

    async def push(stream):
        for i in range(30):
            await stream.ready()
            stream.push(sound(1, i))
            most[0] = max(most[0], stream.waiting)
        stream.end()

    async def take(stream):
        found = []
        async for event in stream:
            found.append(event)
            most[1] = max(most[1], stream._session.untaken)
            if len(found) % 40 == 0:
                await asyncio.sleep(0.002)
        return found

    async def main():
        async with stt.stream() as stream:
            return (await asyncio.gather(push(stream), take(stream)))[1]

    found = run(main())
    assert most[0] <= 11 * RATE and most[1] <= 125
    assert without_partials(found) == fed(stt, np.concatenate([sound(1, i) for i in range(30)]))


def test_memory_stays_where_it_is(stt):
    held = []
    with stt.stream() as stream:
        for i in range(20):
            stream.push(SECOND)
            stream.mark(i)
            while next(stream) != dsm_mlx.Mark(i):
                pass
            if i in (4, 19):
                mx.synchronize()
                held.append(mx.get_active_memory())
        assert not stream._session.events and not stream._session.queue
    assert held[1] <= held[0] + 4096


def test_feeding_is_never_refused(stt):
    """However much at once, and whoever takes the events: it blocks until all is heard."""
    with stt.stream() as stream:
        assert len(pauses(stream.feed(sound(12)))) == 150
        assert stream.waiting == 0


def test_speech_that_nobody_takes_stops_at_two_seconds(tts):
    text = "One two three four five six seven eight nine ten eleven twelve thirteen."
    whole = tts.synthesize(text, seed=4)
    assert whole.duration > 5
    with tts.stream(seed=4) as stream:
        stream.feed(text)
        stream.end()
        chunks = stream._session.chunks
        assert eventually(lambda: len(chunks) == 25)
        assert not eventually_changes(lambda: len(chunks), 25)
        first = [next(stream) for _ in range(10)]
        assert eventually(lambda: len(chunks) == 25)
        assert not eventually_changes(lambda: len(chunks), 25)
        np.testing.assert_array_equal(sound_of([*first, *stream]), whole.audio)
    assert all_free(tts)


def test_a_source_of_text_without_an_end_is_read_as_it_is_said(tts):
    read = []

    def source():
        while True:
            read.append("one two three ")
            yield read[-1]

    async def main(items):
        chunks = 0
        async for chunk in items:
            chunks += 1
            if chunks == 20:
                return chunk.ahead

    assert 100 < run(main(tts.speak(source(), seed=1))) < 250
    assert 30 < len(read) < 100
    assert all_free(tts)


def test_others_are_served_while_one_rests(stt, tts):
    """Neither a full transcript stream nor full speech holds up their neighbours."""
    text = "One two three four five six seven eight nine ten."
    expected = fed(stt, SECOND), tts.synthesize("Four five", seed=1)
    with stt.stream() as stream, tts.stream(seed=2) as speech:
        stream.push(sound(11))
        speech.feed(text)
        speech.end()
        assert eventually(lambda: stream._session.crowded and len(speech._session.chunks) == 25)
        assert fed(stt, SECOND) == expected[0]
        again = tts.synthesize("Four five", seed=1)
        np.testing.assert_array_equal(again.audio, expected[1].audio)


def test_ready_comes_back_when_the_stream_is_closed_or_ends(stt, monkeypatch):
    async def closed_meanwhile():
        asyncio.get_running_loop().call_later(0.1, stream.close)
        await stream.ready()

    with stt.stream() as stream:
        held = Held(stream, monkeypatch)
        stream.push(sound(11))
        run(closed_meanwhile())
        with pytest.raises(ValueError, match="closed"):
            stream.push(SECOND)
        held.let_go()


def test_listen_waits_for_who_takes(stt):
    """A source that gives sound faster than it is taken is read no further than that."""
    read = []

    def source():
        for i in range(40):
            read.append(i)
            yield SECOND

    async def main():
        heard = 0
        async for event in stt.listen(source()):
            if pauses([event]):
                heard += 1
                assert len(read) <= heard * 0.08 + 10 + 1 + 11 + 2
                if heard == 60:
                    return

    run(main())
    assert len(read) < 30
    assert all_free(stt)
