"""A fork goes on as if it were the stream it came from, wherever that was; so do seeds."""

import random
from functools import partial

import numpy as np
import pytest
from streaming import (
    RATE,
    all_free,
    fed,
    in_threads,
    own,
    pieces,
    rest,
    sound,
    sound_of,
    without_partials,
    words,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import BusyError, Mark, TurnPolicy
from dsm_mlx.audio import WavWriter

PCM = sound(2.4)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("fork")))


@pytest.fixture(scope="module")
def delayed(small):
    return dsm_mlx.load_stt(small("stt-tiny-26"))


@pytest.fixture(scope="module")
def tts(small):
    return dsm_mlx.load_tts(small("tts-tiny"))


# ---- transcripts


def play(stream, rng):
    """Random calls of a pushed stream, some of its events taken; as a generator between them."""
    taken = []
    for i, piece in enumerate(pieces(PCM, rng.randrange(99), most=12_000)):
        stream.give(piece)  # which waits for room, where flushes wait to be heard
        if rng.random() < 0.2:
            rng.choice([stream.flush, stream.reset])()
        if rng.random() < 0.3:
            stream.mark(i)
        if rng.random() < 0.5:
            stream.mark("here")
            while not taken or taken[-1] != Mark("here"):
                taken.append(next(stream))
        yield taken


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_a_fork_goes_on_to_the_same_events(model, seed, request):
    """With sound waiting, frames in flight, events untaken, tasks queued, tokens drawn."""
    stt, options = request.getfixturevalue(model), {}
    if seed % 2:
        options = {"temperature": 0.9, "seed": seed, "turns": TurnPolicy(0.5, 0.2, 1, 0.1)}
    forks = []
    with stt.stream(**options) as stream:
        game, rng = play(stream, random.Random(seed)), random.Random(seed)
        taken = []
        for taken in game:
            if rng.random() < 0.4:
                forks.append((stream.fork(), len(taken)))
        forks.append((stream.fork(), len(taken)))
        before, more = len(without_partials(taken)), sound(0.5, 9)
        stream.give(more)
        events = without_partials(taken) + rest(stream)
    assert words(events) and before
    last, at = forks.pop()
    last.give(more)
    assert rest(last) == events[len(without_partials(taken[:at])) :]
    for fork, at in forks:
        here = len(without_partials(taken[:at]))
        fork.mark("only here")
        found = rest(fork)
        agree = found[: found.index(Mark("only here"))]
        assert agree == events[here : here + len(agree)]
    assert all_free(stt)


def test_forks_are_independent(stt):
    """Each goes its own way, and the end of one is nothing to the others."""
    one, two = sound(1, 1), sound(1, 2)
    with stt.stream() as stream:
        before = stream.feed(PCM)
        fork, closed = stream.fork(), stream.fork()
        closed.close()
        with fork:
            after = fork.feed(one)
        assert before + after + fork.final_events == fed(stt, np.concatenate([PCM, one]))
        again = before + stream.feed(two)
    assert again + stream.final_events == fed(stt, np.concatenate([PCM, two]))


def test_a_fork_of_a_fed_stream_may_be_pushed_and_the_other_way_round(stt):
    whole = fed(stt, np.concatenate([PCM, PCM]))
    with stt.stream() as stream:
        before = stream.feed(PCM)
        with stream.fork() as fork:
            fork.push(PCM)
            assert before + rest(fork) == whole
    with stt.stream() as stream:
        stream.push(PCM)
        with stream.fork() as fork:
            events = fork.feed(PCM)
        assert without_partials(events + fork.final_events) == whole


def test_what_has_ended_ends_for_a_fork_and_where_it_is_resumed(stt):
    whole = without_partials(fed(stt, PCM))
    with stt.stream() as stream:
        stream.push(PCM)
        stream.end()
        copies = [stream.fork(), stt.resume(stream.save())]
        for copy in (*copies, copies[0].fork(), stt.resume(copies[1].save())):
            with copy:
                for call in (partial(copy.push, PCM), copy.flush, partial(copy.mark, 1)):
                    with pytest.raises(ValueError, match="the stream has ended"):
                        call()
                copy.end()
                assert without_partials(list(copy)) == whole
        assert without_partials(list(stream)) == whole
        with stream.fork() as fed_one, pytest.raises(ValueError, match="the stream has ended"):
            fed_one.feed(PCM)
    assert all_free(stt)


def test_a_sliding_window(stt):
    """Each fork is flushed and dropped, and the stream does not notice."""
    heard, shown = [], []
    with stt.stream() as stream:
        for start in range(0, PCM.size, 7001):
            heard += stream.feed(PCM[start : start + 7001])
            with stream.fork() as window:
                shown.append(words(heard + window.flush()))
    events = heard + stream.final_events
    assert events == fed(stt, PCM)
    assert shown[-1] == words(events)
    assert all_free(stt)


def test_a_fork_needs_a_row(small, tmp_path):
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path), max_streams=2)
    with stt.stream() as stream, stream.fork() as fork:
        with pytest.raises(BusyError, match="all 2 streams are in use"):
            fork.fork()
        fork.close()
        stream.fork().close()
    with pytest.raises(ValueError, match="the stream is closed"):
        stream.fork()


# ---- temperature and seeds


def test_a_seed_repeats_and_others_differ(stt):
    def texts(seed, temperature=0.9):
        return words(fed(stt, PCM, temperature=temperature, seed=seed))

    assert texts(1) == texts(1) != texts(2)
    assert texts(1) != words(fed(stt, PCM)) == texts(7, 0.0)
    assert texts(None) != texts(None)


def test_a_seed_gives_the_same_after_a_reset(stt):
    with stt.stream(temperature=0.9, seed=3) as stream:
        first = stream.feed(PCM) + stream.reset()
        second = stream.feed(PCM) + stream.reset()
    assert [text for text, _ in words(first)] == [text for text, _ in words(second)]


def test_a_list_of_seeds_and_neighbours_that_do_not_draw(stt):
    """Exact in a batch: beside others, in other places, at temperature 0 as if alone."""
    sounds = [sound(1.5, i) for i in range(4)]
    options = {"sample_rate": RATE, "temperature": 0.8}
    alone = [
        stt.transcribe(s, seed=seed, **options)
        for s, seed in zip(sounds, [5, 6, 7, 8], strict=True)
    ]
    still = [stt.transcribe(s, sample_rate=RATE) for s in sounds]
    drawn, zero, fed_one = in_threads(
        lambda: stt.transcribe(sounds, seed=[5, 6, 7, 8], **options),
        lambda: stt.transcribe(sounds, sample_rate=RATE),
        lambda: fed(stt, sounds[2], temperature=0.8, seed=7),
    )
    assert drawn == alone and zero == still
    assert words(fed_one) == [(w.text, w.start) for w in alone[2].words]
    assert len({result.text for result in (*alone, *still)}) == 8
    same = stt.transcribe([sounds[0]] * 2, seed=5, **options)
    assert same == [alone[0]] * 2
    backwards = stt.transcribe(sounds[::-1], seed=[8, 7, 6, 5], batch=2, **options)
    assert backwards == alone[::-1]


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"seed": -1}, ValueError, r"seed is -1 \(expected"),
        ({"seed": 1.5}, TypeError, r"seed is 1.5 \(expected an integer"),
        ({"seed": 2**64}, ValueError, "seed is"),
        ({"temperature": -0.1}, ValueError, r"temperature is -0.1 \(expected 0 to"),
        ({"temperature": float("nan")}, ValueError, "temperature is nan"),
        ({"temperature": "hot"}, TypeError, r"temperature is 'hot' \(expected a number"),
        ({"turns": 0.5}, TypeError, r"turns is 0.5 \(expected a TurnPolicy"),
        ({"wait": -1}, ValueError, "wait is -1"),
        ({"delay": -1}, ValueError, r"delay is -1.* \(expected"),
    ],
)
def test_options_that_cannot_be(stt, options, error, message):
    with pytest.raises(error, match=message):
        stt.stream(**options)
    assert stt.streams == 0


def test_as_many_seeds_as_recordings(stt):
    with pytest.raises(ValueError, match="3 seeds for 2 recordings"):
        stt.transcribe([PCM, PCM], sample_rate=RATE, seed=[1, 2, 3])
    with pytest.raises(TypeError, match=r"seed is 'x' \(expected an integer"):
        stt.transcribe([PCM, PCM], sample_rate=RATE, seed=[1, "x"])
    assert all_free(stt)


# ---- speech

TEXT = "One two <break time='200ms'/> three four, five."


def forked_everywhere(tts, voice=None, **options):
    """The speech of a stream, and of forks of it at many of its chunks."""
    whole = tts.synthesize(TEXT, voice, seed=5, **options)
    with tts.stream(voice, seed=5, **options) as stream:
        stream.feed(TEXT)
        stream.end()
        chunks, forks = [], []
        for i, chunk in enumerate(stream):
            chunks.append(chunk)
            if i % 6 == 0 and len(forks) < 6:
                forks.append((stream.fork(), len(chunks)))
    np.testing.assert_array_equal(sound_of(chunks), whole.audio)
    for fork, at in forks:
        more = list(fork)
        np.testing.assert_array_equal(sound_of(chunks[:at] + more), whole.audio)
        assert words(w for c in chunks[:at] + more for w in c.words) == words(whole.words)
        assert [c.ahead for c in more] == [c.ahead for c in chunks[at:]]
    assert len(forks) > 4


def test_speech_forks_within_words(tts):
    forked_everywhere(tts, "voice1.wav")


def test_speech_forks_with_guidance(small):
    forked_everywhere(dsm_mlx.load_tts(small("tts-tiny-nativecfg")), cfg=2.0)


def test_speech_forks_with_a_cloned_voice(small, tmp_path):
    with WavWriter(tmp_path / "voice.wav", RATE) as file:
        file.write(sound(0.7, 3))
    tts = dsm_mlx.load_tts(small("tts-tiny-public"))
    assert tts.clones
    forked_everywhere(tts, tmp_path / "voice.wav")


def test_speech_forks_go_their_own_ways(tts):
    """In the middle of a word that was fed in part."""
    begun, ends = "One two three four five six sev", ("en", "enty <break time='100ms'/> eight")
    with tts.stream(seed=6) as stream:
        stream.feed(begun)
        before = [next(stream)]
        both = [stream, stream.fork()]
        for one, end in zip(both, ends, strict=True):
            one.feed(end)
            one.end()
        for one, end in zip(both, ends, strict=True):
            speech = tts.synthesize(begun + end, seed=6)
            chunks = before + list(one)
            np.testing.assert_array_equal(sound_of(chunks), speech.audio)
            assert words(w for c in chunks for w in c.words) == words(speech.words)
    with pytest.raises(ValueError, match="the stream is closed"):
        stream.fork()
    with pytest.raises(ValueError, match="the stream is closed"):
        stream.feed("more")
