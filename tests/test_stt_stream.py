"""Streams and batches: any chunk size, resets, threads and neighbours give the same words.

The model has random weights, so its words are nonsense, but many; what counts is that they are
the same. Its attention window is 16 frames, which every test here runs past several times.
"""

import json
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

import dsm_mlx
from dsm_mlx import AudioError, EndOfTurn, Pause, Word
from dsm_mlx.runtime import worker

RATE = 24_000


def sound(seconds, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (200 + 50 * seed) * t * (1 + 0.2 * np.sin(3 * t)))
    return (0.3 * tone + 0.05 * rng.standard_normal(t.size)).astype(np.float32)


@pytest.fixture(scope="module")
def stt(checkpoint):
    return dsm_mlx.load_stt(checkpoint("stt-tiny"))


@pytest.fixture(scope="module")
def delayed(checkpoint):
    """A model with a silence prefix of 1 s, a delay of 2.5 s and no pause heads."""
    return dsm_mlx.load_stt(checkpoint("stt-tiny-26"))


def hear(stt, pcm, chunk):
    events = []
    with stt.stream() as stream:
        for start in range(0, pcm.size, chunk):
            events += stream.feed(pcm[start : start + chunk])
    return events + stream.rest


@pytest.mark.parametrize("chunk", [1919, 1920, 1921, 5000, 10**6])
@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_any_chunk_size_gives_the_same_events(model, chunk, request):
    stt, pcm = request.getfixturevalue(model), sound(3.03)
    expected = hear(stt, pcm, 777)
    assert sum(isinstance(event, Word) for event in expected) > 3
    assert hear(stt, pcm, chunk) == expected


def test_one_sample_at_a_time(stt):
    pcm = sound(0.5)
    assert hear(stt, pcm, 1) == hear(stt, pcm, pcm.size)


@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_a_file_gives_the_words_of_the_stream(model, request):
    stt, pcm = request.getfixturevalue(model), sound(4)
    heard = [event for event in hear(stt, pcm, 1000) if isinstance(event, Word)]
    result = stt.transcribe(pcm, sample_rate=RATE)
    assert [(w.text, w.start) for w in result.words] == [(w.text, w.start) for w in heard]
    assert result.text == " ".join(word.text for word in heard)
    assert result.duration == 4


@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_times_lie_in_the_audio_and_never_run_back(model, request):
    stt, pcm = request.getfixturevalue(model), sound(6)
    words = stt.transcribe(pcm, sample_rate=RATE).words
    starts = [word.start for word in words]
    assert starts == sorted(starts) and starts[0] >= 0
    assert all(word.start <= word.end <= 6 for word in words)


def test_a_pause_for_every_frame(stt, delayed):
    pcm = sound(4)
    for model in (stt, delayed):
        with model.stream() as stream:
            pauses = [event for event in stream.feed(pcm) if isinstance(event, Pause)]
        # The second model's silence prefix of 1 s is twelve frames and a half.
        steps = np.arange(1, 51) if model is stt else np.arange(1.5, 50.5)
        assert np.allclose([pause.time for pause in pauses], steps * 0.08)
        assert all(list(pause.probabilities) == [0.5, 1.0, 2.0, 3.0] for pause in pauses)
        assert all(0 <= p <= 1 for pause in pauses for p in pause.probabilities.values())
    assert stt.pauses and not delayed.pauses


def test_the_end_of_a_turn_without_heads(delayed):
    """A model without pause heads tells the end of a turn from the level."""
    pcm = np.concatenate([sound(4), np.zeros(4 * RATE, np.float32)])
    turns = [event for event in hear(delayed, pcm, 1920) if isinstance(event, EndOfTurn)]
    assert len(turns) == 1 and 4.8 < turns[0].time < 6.5


def test_flush_brings_out_the_words_and_the_clock_stands_still(stt):
    pcm = sound(3)
    with stt.stream() as stream:
        before = stream.feed(pcm)
        flushed = stream.flush()
        words = [event for event in before + flushed if isinstance(event, Word)]
        assert all(word.end <= 3 for word in words)
        after = [event for event in stream.feed(pcm) if isinstance(event, Word)]
    assert flushed and after
    assert after[0].start >= 3 and after[-1].end <= 6
    assert len(words) == len(stt.transcribe(pcm, sample_rate=RATE).words)


def test_reset_forgets_the_context_and_keeps_the_time(stt):
    first, second = sound(3), sound(2, seed=1)
    fresh = stt.transcribe(second, sample_rate=RATE)
    with stt.stream() as stream:
        stream.feed(first)
        stream.reset()
        events = stream.feed(second)
    words = [event for event in events + stream.rest if isinstance(event, Word)]
    assert [word.text for word in words] == [word.text for word in fresh.words]
    starts = [word.start + 3 for word in fresh.words]
    assert [word.start for word in words] == pytest.approx(starts, abs=0.02)


@pytest.mark.thorough
def test_an_interrupt_loses_no_words(stt):
    """Ctrl-C while frames are being computed: a flush brings out what was found meanwhile."""
    pcm = sound(60)
    interrupt = threading.Timer(
        0.2, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    )
    with stt.stream() as stream:
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            stream.feed(pcm)
        assert stream.waiting > 1920
        events = stream.flush()
    assert events == hear(stt, pcm, pcm.size)


def test_streams_do_not_leak_into_each_other(stt):
    a, b = sound(3, 1), sound(3, 2)
    alone = [hear(stt, a, 4000), hear(stt, b, 4000)]
    with stt.stream() as one, stt.stream() as two:
        events = [[], []]
        for start in range(0, a.size, 4000):
            events[0] += one.feed(a[start : start + 4000])
            events[1] += two.feed(b[start : start + 4000])
    assert [events[0] + one.rest, events[1] + two.rest] == alone


def test_many_threads_at_once(stt):
    sounds = [sound(1, seed) for seed in range(4)]
    expected = [hear(stt, pcm, 2500) for pcm in sounds]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda pcm: hear(stt, pcm, 2500), sounds)) == expected


def test_a_stream_made_in_one_thread_is_used_in_another(stt):
    stream = stt.stream()
    found = []
    thread = threading.Thread(target=lambda: found.extend(stream.feed(sound(1))))
    thread.start()
    thread.join()
    assert found
    stream.close()


@pytest.mark.thorough
@pytest.mark.parametrize("batch", [2, 3, 8])
def test_rows_of_a_batch_give_what_they_give_alone(stt, batch):
    """Batch of different lengths: they rest, leave, and others take their place."""
    sounds = [sound(seconds, seed) for seed, seconds in enumerate([1.5, 0.3, 2.2, 0.04, 1.2])]
    together = stt.transcribe(sounds, sample_rate=RATE, batch=batch)
    assert together == [stt.transcribe(pcm, sample_rate=RATE) for pcm in sounds]
    assert sum(len(result.words) for result in together) > 10


@pytest.mark.thorough
def test_rows_with_a_prefix_and_no_heads(delayed):
    sounds = [sound(seconds, seed) for seed, seconds in enumerate([1.0, 2.0, 0.1])]
    together = delayed.transcribe(sounds, sample_rate=RATE, batch=2)
    assert together == [delayed.transcribe(pcm, sample_rate=RATE) for pcm in sounds]


def test_no_recordings_give_no_transcripts(stt):
    assert stt.transcribe([]) == []


def test_other_rates_and_channels(stt):
    pcm = sound(2)
    stereo = np.stack([pcm, pcm], axis=1)
    assert stt.transcribe(stereo, sample_rate=RATE) == stt.transcribe(pcm, sample_rate=RATE)
    assert stt.transcribe(pcm, sample_rate=8000).duration == pytest.approx(6, abs=0.01)


@pytest.mark.parametrize(
    "pcm, error",
    [
        (np.array([0.0, np.nan], np.float32), AudioError),
        (np.array([0.0, np.inf], np.float32), AudioError),
        (np.zeros((2, 100), np.float32), ValueError),
        (np.zeros(100, np.complex64), ValueError),
        (np.full(100, 20000.0, np.float32), AudioError),
        ("sound", ValueError),
    ],
)
def test_bad_sound_is_refused_and_the_stream_goes_on(stt, pcm, error):
    good = sound(1)
    with stt.stream() as stream:
        events = stream.feed(good)
        with pytest.raises(error, match="expected"):
            stream.feed(pcm)
        events += stream.feed(good)
    assert events + stream.rest == hear(stt, np.concatenate([good, good]), 10**6)


def test_a_closed_stream_says_so(stt):
    stream = stt.stream()
    stream.close()
    stream.close()
    for method in (lambda: stream.feed(sound(0.1)), stream.flush, stream.reset):
        with pytest.raises(ValueError, match="closed"):
            method()


def test_an_error_in_the_block_does_not_flush(stt):
    with pytest.raises(RuntimeError, match="mine"), stt.stream() as stream:
        raise RuntimeError("mine")
    assert stream.rest == []


def test_empty_chunks_are_nothing(stt):
    with stt.stream() as stream:
        assert stream.feed(np.zeros(0, np.float32)) == []


def test_a_fixed_delay_cannot_be_changed(stt):
    with pytest.raises(ValueError, match=r"delay is 2.*0\.5"):
        stt.stream(delay=2)
    stt.stream(delay=0.5).close()


def test_a_delay_that_is_an_input(checkpoint, tmp_path):
    """A continuous `delay` conditioner: other delays give other words, and both are repeatable."""
    import mlx.core as mx

    folder = tmp_path / "delay"
    shutil.copytree(checkpoint("stt-tiny"), folder)
    config = json.loads((folder / "config.json").read_text())
    inner = {"dim": 16, "scale_factor": 10.0, "max_period": 100.0}
    config["conditioners"] = {"delay": {"type": "continuous_attribute", **inner}}
    config["fuser"] = {"sum": ["delay"], "cross": []}
    (folder / "config.json").write_text(json.dumps(config))
    weights = folder / config["moshi_name"]
    tensors = mx.load(str(weights))
    key = "condition_provider.conditioners.delay."
    tensors[key + "output_proj.weight"] = 3 * mx.random.normal((64, 16), key=mx.random.key(1))
    tensors[key + "learnt_padding"] = mx.zeros((1, 1, 64))
    weights.unlink()
    mx.save_safetensors(str(weights), tensors)
    stt, pcm = dsm_mlx.load_stt(folder), sound(3)

    def words(delay):
        return [word.text for word in stt.transcribe(pcm, sample_rate=RATE, delay=delay).words]

    assert words(0.5) == words(None) == words(0.5) != words(2.0)
    for delay in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="delay is"):
            stt.stream(delay=delay)


@pytest.mark.thorough
def test_memory_and_steps_stay_flat_for_many_windows(stt):
    """80 s are 62 windows of this model: nothing may grow. (`tools/bench.py --soak` goes on.)"""
    import mlx.core as mx

    def active():
        mx.synchronize()  # what is still being computed holds more
        return mx.get_active_memory()

    piece, levels = sound(20), []
    with stt.stream() as stream:
        for _ in range(4):
            stream.feed(piece)
            levels.append(worker.run(active))  # between two turns: in one a frame is held
    # What is lost is lost in each window; what the tests before left may come and go once.
    assert min(after - before for before, after in pairwise(levels)) <= 0
    assert max(levels) <= levels[0] + 16_384
    assert stream.rest
