"""Fed, pushed and iterated, listened to or transcribed: the same events."""

import asyncio
import random
import threading

import numpy as np
import pytest
from streaming import (
    RATE,
    all_free,
    fed,
    in_threads,
    own,
    pauses,
    pieces,
    rest,
    run,
    sound,
    sound_of,
    without_partials,
    words,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import Partial, Word

PCM = sound(3.03)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("ways")))


@pytest.fixture(scope="module")
def delayed(small):
    """With a prefix of silence, a delay of 2.5 s and no pause heads."""
    return dsm_mlx.load_stt(small("stt-tiny-26"))


@pytest.fixture(scope="module")
def tts(small, tmp_path_factory):
    return dsm_mlx.load_tts(own(small("tts-tiny"), tmp_path_factory.mktemp("ways")))


@pytest.fixture(scope="module")
def expected(stt):
    events = fed(stt, PCM)
    assert len(words(events)) > 3
    return events


# ---- the same events


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_pushed_is_as_fed(model, seed, request):
    model = request.getfixturevalue(model)
    with model.stream() as stream:
        for piece in pieces(PCM, seed):
            stream.push(piece)
        found = rest(stream)
    assert found == fed(model, PCM, 7000)


def test_transcribe_and_its_events_are_as_fed(stt, expected):
    parts = list(stt.transcribe_events([PCM], sample_rate=RATE))
    assert [event for part in parts for event in part.events] == expected
    assert [part.last for part in parts] == [False] * (len(parts) - 1) + [True]
    assert sum(part.seconds for part in parts) == pytest.approx(3.03)
    whole = stt.transcribe(PCM, sample_rate=RATE)
    assert [(w.text, w.start) for w in whole.words] == words(expected)
    assert whole.pauses == pauses(expected)


def test_listen_is_as_fed(stt, expected):
    assert without_partials(stt.listen(pieces(PCM, 1))) == expected

    async def source():
        for piece in pieces(PCM, 2):
            await asyncio.sleep(0)
            yield piece

    async def heard(source):
        return without_partials([event async for event in stt.listen(source)])

    assert run(heard(source())) == expected
    assert run(heard(pieces(PCM, 3))) == expected
    assert run(heard(iter(pieces(PCM, 4)))) == expected


def test_pushed_from_one_loop_and_taken_in_another(stt, expected):
    stream = stt.stream()

    async def push():
        for piece in pieces(PCM, 5, most=3000):
            await stream.ready()
            stream.push(piece)
            await asyncio.sleep(random.Random(piece.size).random() / 500)
        stream.end()

    async def take():
        return [event async for event in stream]

    _, events = in_threads(lambda: run(push()), lambda: run(take()))
    stream.close()
    assert without_partials(events) == expected


def test_pushed_from_threads_and_taken_in_a_loop(stt, expected):
    """Two threads push in turns, a third one reads what is known meanwhile."""
    parts, stream, turn = pieces(PCM, 6), stt.stream(), threading.Condition()
    done = []

    def push(mine):
        for i, piece in enumerate(parts):
            if i % 2 == mine:
                with turn:
                    turn.wait_for(lambda i=i: len(done) == i)
                    stream.push(piece)
                    done.append(i)
                    turn.notify_all()

    def look():
        while len(done) < len(parts):
            assert 0 <= stream.waiting <= PCM.size and stream.time <= 3.03
            assert isinstance(stream.partial_word, str)
        stream.end()

    async def take():
        async with stream:
            return [event async for event in stream]

    *_, events = in_threads(lambda: push(0), lambda: push(1), look, lambda: run(take()))
    assert without_partials(events) == expected


def test_a_model_that_a_loop_a_thread_and_recordings_use_at_once(stt, expected):
    async def loop():
        whole = asyncio.ensure_future(stt.atranscribe([PCM, PCM], sample_rate=RATE))
        events = [event async for event in stt.listen(pieces(PCM, 7))]
        return without_partials(events), await whole

    def thread():
        return fed(stt, PCM, 3333)

    (one, many), (two, more), three = in_threads(lambda: run(loop()), lambda: run(loop()), thread)
    assert one == two == three == expected
    assert many == more == [stt.transcribe(PCM, sample_rate=RATE)] * 2
    assert all_free(stt)


def test_two_threads_that_feed_one_stream_share_its_events(stt):
    """None is lost and none comes twice."""
    frame = PCM[:1920]
    with stt.stream() as stream:

        def feed():
            return [event for _ in range(15) for event in stream.feed(frame)]

        one, two = in_threads(feed, feed)
    found = one + two + stream.final_events
    assert sorted(map(repr, found)) == sorted(map(repr, fed(stt, np.tile(frame, 30))))


def test_speech_is_the_same_however_it_is_made(tts):
    text = "One two <break time='100ms'/> three, four."
    whole = tts.synthesize(text, seed=3)
    parts = ["One tw", "o <bre", "", "ak time='100ms'/> three,", " fo", "ur."]

    async def source():
        for part in parts:
            await asyncio.sleep(0)
            yield part

    async def spoken(source):
        return [chunk async for chunk in tts.speak(source, seed=3)]

    async def at_once():
        return await tts.asynthesize([text, text], seed=3)

    made = [list(tts.speak(parts, seed=3)), run(spoken(parts)), run(spoken(source()))]
    for chunks in made:
        np.testing.assert_array_equal(sound_of(chunks), whole.audio)
        assert words(w for c in chunks for w in c.words) == words(whole.words)
        assert chunks[-1].ahead == 0
    for speech in run(at_once()):
        np.testing.assert_array_equal(speech.audio, whole.audio)
    assert all_free(tts)


# ---- partial words


def test_partials_come_from_iteration_only_and_grow_into_their_word(stt):
    with stt.stream() as stream:
        stream.push(PCM)
        stream.end()
        events = list(stream)
    seen, shown = [], 0
    for event in events:
        if isinstance(event, Partial):
            seen.append(event.text)
            shown += 1
        elif isinstance(event, Word):
            assert not seen or event.text.startswith(seen[0][:1])
            seen = []
    assert shown > 3
    assert not any(isinstance(event, Partial) for event in fed(stt, PCM))
    times = [event.time for event in events if isinstance(event, Partial)]
    assert times == sorted(times)


# ---- sources


def test_an_error_of_the_source_comes_after_all_that_came_of_it_before(stt, expected, tts):
    def broken(items):
        yield from items
        raise KeyError("mine")

    async def broken_async(items):
        for item in items:
            yield item
        raise KeyError("mine")

    async def take(piped, found):
        async for item in piped:
            found.append(item)

    for source in (broken, broken_async):
        for make, items, whole in (
            (stt.listen, pieces(PCM, 8), expected),
            (lambda s: tts.speak(s, seed=3), ["One two ", "three"], None),
        ):
            found = []
            with pytest.raises(KeyError, match="mine"):
                run(take(make(source(items)), found))
            if source is broken:
                again = []
                with pytest.raises(KeyError, match="mine"):
                    again.extend(make(source(items)))
            if whole:
                assert without_partials(found) == whole
                assert source is broken_async or without_partials(again) == whole
            else:
                speech = tts.synthesize("One two three", seed=3)
                np.testing.assert_array_equal(sound_of(found), speech.audio)
    assert all_free(stt, tts)


def test_a_bad_tag_ends_a_source_after_what_came_before(tts):
    for items in (["One <voice>two", " three"], ["One <break time='1s"]):
        for chunks in (tts.speak(items, seed=1), _listed(tts.speak(items, seed=1))):
            found = []
            with pytest.raises(ValueError, match="tag"):
                found.extend(chunks)
            assert "One" in [word.text for chunk in found for word in chunk.words]


def _listed(piped):
    """An async iteration, in a loop of its own, for `for`."""
    loop = asyncio.new_event_loop()
    items = aiter(piped)
    try:
        while True:
            yield loop.run_until_complete(asyncio.wait_for(anext(items), 30))
    except StopAsyncIteration:
        return
    finally:
        loop.close()


def test_no_source_is_refused_and_leaves_no_row(stt, tts):
    for call in (lambda: stt.listen(5), lambda: tts.speak(None)):
        with pytest.raises(TypeError, match=r"source is \w+ \(expected an iterable"):
            call()

    async def source():
        yield PCM

    with pytest.raises(TypeError, match="asynchronous"):
        list(stt.listen(source()))
    assert all_free(stt, tts) and stt.streams == tts.streams == 0


def test_breaking_off_closes_the_stream_of_a_source(stt, tts):
    def endless():
        while True:
            yield PCM[:5000]

    async def broken_off():
        async for _ in stt.listen(endless()):
            break
        async for _ in tts.speak(["One two three ", "four"]):
            break

    for _ in stt.listen(endless()):
        break
    for _ in tts.speak(["One two three ", "four"]):
        break
    run(broken_off())
    stt.listen(endless())  # and one that is never begun
    assert all_free(stt, tts) and stt.streams == tts.streams == 0
