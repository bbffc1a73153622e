"""Handles: they share what was loaded, count their streams, and end by themselves."""

import gc
import threading
import time
import weakref

import mlx.core as mx
import numpy as np
import pytest
from streaming import (
    RATE,
    all_free,
    eventually,
    fed,
    in_threads,
    own,
    rest,
    run,
    sound,
    without_partials,
    words,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import BusyError, Pause
from dsm_mlx.runtime import worker

PCM = sound(1.6)


@pytest.fixture
def folder(small, tmp_path):
    return own(small("stt-tiny"), tmp_path)


@pytest.fixture
def speaking(small, tmp_path):
    return own(small("tts-tiny"), tmp_path)


def batches():
    return len(worker.run(worker.shared.batches))


# ---- how many


@pytest.mark.parametrize(
    "load, name", [(dsm_mlx.load_stt, "stt-tiny"), (dsm_mlx.load_tts, "tts-tiny")]
)
def test_so_many_streams_and_no_more(load, name, small, tmp_path):
    model = load(own(small(name), tmp_path), max_streams=2)
    assert model.max_streams == 2 and model.streams == 0
    one, two = model.stream(), model.stream()
    assert model.streams == 2
    with pytest.raises(BusyError, match=r"all 2 streams are in use \(close one, or load"):
        model.stream()
    began = time.monotonic()
    with pytest.raises(BusyError):
        model.stream(wait=0.2)
    assert 0.2 <= time.monotonic() - began < 20
    threading.Timer(0.1, one.close).start()
    three = model.stream(wait=30)
    assert model.streams == 2
    two.close()
    two.close()
    three.close()
    assert model.streams == 0 and all_free(model)


def test_a_stream_that_is_dropped_makes_room(folder):
    stt = dsm_mlx.load_stt(folder, max_streams=1)
    for _ in range(3):
        stt.stream().push(PCM)
        assert stt.streams == 0
    with stt.stream() as stream:
        stream.push(PCM)
        assert len(rest(stream)) > 10


@pytest.mark.parametrize("count", [0, -1, 2000, 1.5, "two", True])
def test_no_such_count_of_streams(folder, count):
    with pytest.raises((ValueError, TypeError), match=r"max_streams is .* \(expected"):
        dsm_mlx.load_stt(folder, max_streams=count)


def test_as_many_as_fit_is_a_power_of_two(folder):
    assert dsm_mlx.load_stt(folder).max_streams in (1, 2, 4, 8, 16)


@pytest.mark.parametrize(
    "load, name", [(dsm_mlx.load_stt, "stt-tiny"), (dsm_mlx.load_tts, "tts-tiny")]
)
def test_the_streams_of_all_handles_add_up(load, name, small, tmp_path):
    """Whatever another handle has open, a handle has its own; and takes them with it."""
    path = own(small(name), tmp_path)
    one = load(path, max_streams=2)
    two = load(path, max_streams=1)
    streams = [one.stream(), one.stream(), two.stream()]
    for model in (one, two):
        with pytest.raises(BusyError):
            model.stream()
    two.close()
    assert one.streams == 2 and one.stats()["rows_in_use"] == 2
    three = load(path, max_streams=3)
    streams += [three.stream() for _ in range(3)]
    del three
    streams[-3:] = []
    for stream in streams:
        stream.close()
    assert all_free(one)
    limits = {batch.limit for batch in worker.run(worker.shared.batches) if batch.name == one.name}
    assert limits == {2}


def test_recordings_wait_for_rows_and_never_complain(folder):
    """While streams have them all; and a stream that opens takes a recording's row."""
    stt = dsm_mlx.load_stt(folder, max_streams=2)
    alone = stt.transcribe(PCM, sample_rate=RATE)
    with stt.stream(), stt.stream() as two:
        waiting = threading.Thread(
            target=lambda: found.append(stt.transcribe([PCM] * 3, sample_rate=RATE)), daemon=True
        )
        found = []
        waiting.start()
        assert eventually(lambda: stt.stats()["frames_waiting"] > 20)
        time.sleep(0.1)
        assert not found and stt.stats()["rows_in_use"] == 2
        two.close()
        assert eventually(lambda: found)
    assert found == [[alone] * 3]
    parts = stt.transcribe_events([sound(20)] * 2, sample_rate=RATE)
    next(parts)
    with stt.stream() as one, stt.stream() as two:
        one.push(PCM)
        two.push(PCM)
        assert words(rest(one)) == words(rest(two)) == words(fed(stt, PCM))
    parts.close()
    assert all_free(stt)


# ---- sharing


def test_what_is_loaded_twice_lies_in_memory_once(folder, speaking):
    for load, path in ((dsm_mlx.load_stt, folder), (dsm_mlx.load_tts, speaking)):
        one = load(path)
        mx.synchronize()
        held = mx.get_active_memory()
        two, info = load(path / "config.json"), one.info
        assert two is not one and two.info == info
        assert mx.get_active_memory() - held < info.bytes / 2
        other = load(path, dtype="float16")
        assert mx.get_active_memory() - held > info.bytes / 20
        other.close()
        one.close()
        assert two.info == info


def test_one_handle_closed_leaves_the_other(folder):
    one, two = dsm_mlx.load_stt(folder), dsm_mlx.load_stt(folder)
    expected = fed(one, PCM)
    ended, goes_on = one.stream(), two.stream()
    ended.push(PCM)
    goes_on.push(PCM)
    one.close()
    one.close()
    for call in (
        one.stream,
        lambda: one.transcribe(PCM, sample_rate=RATE),
        lambda: one.info,
        one.stats,
    ):
        with pytest.raises(ValueError, match="the model is closed"):
            call()
    with pytest.raises(ValueError, match="the stream is closed"):
        ended.push(PCM)
    assert rest(goes_on) == expected == fed(two, PCM)
    assert two.stats()["streams"] == two.streams == 0 and all_free(two)


def test_the_memory_goes_with_the_last_handle(folder, speaking):
    gc.collect()
    run_once = worker.run(mx.get_active_memory), batches()
    for load, path in ((dsm_mlx.load_stt, folder), (dsm_mlx.load_tts, speaking)):
        with load(path) as one, load(path) as two:
            with two.stream() as stream:
                stream.fork().close()
            assert one.stats()["rows"] >= 1
        del one, two, stream
    gc.collect()
    worker.run(lambda: None)
    assert batches() == run_once[1]
    assert worker.run(mx.get_active_memory) <= run_once[0] + 4096


def test_steps_that_were_counted_stay_counted(speaking):
    """Also those of batches that nobody needs any more."""
    tts = dsm_mlx.load_tts(speaking)
    tts.synthesize("one two", seed=1)
    before = tts.stats()
    for length in range(1000, 1010):
        worker.run(tts._core._batch, (False, length))
    after = tts.stats()
    assert len(tts._core.batches) < 10
    assert after["steps"] == before["steps"] > 0
    assert after["seconds_a_step"] == before["seconds_a_step"] > 0


@pytest.mark.parametrize(
    "load, name", [(dsm_mlx.load_stt, "stt-tiny"), (dsm_mlx.load_tts, "tts-tiny")]
)
def test_a_closed_stream_does_not_hold_the_model(load, name, small, tmp_path, monkeypatch):
    """Neither does what waits for the worker, when the collector comes by for the last time:
    compiled steps refer to themselves."""
    monkeypatch.setenv("DSM_MLX_COMPILE", "1")
    model = load(own(small(name), tmp_path))
    core = weakref.ref(model._core)
    with model.stream() as kept, model.stream() as forked:
        kept.feed(PCM if name == "stt-tiny" else "some words ")
        forked.fork().close()
    worker.run(lambda: None)
    busy = threading.Event()
    gc.disable()
    try:
        worker.post(busy.wait)
        model.close()
        busy.set()
        worker.run(lambda: None)
        assert core() is None
    finally:
        gc.enable()
        busy.set()


def test_changed_files_are_another_model(folder):
    import os

    one = dsm_mlx.load_stt(folder)
    with one.stream():
        weights = max(folder.glob("*.safetensors"), key=lambda path: "mimi" not in path.name)
        os.utime(weights, ns=(1, 1))
        two = dsm_mlx.load_stt(folder)
        assert two.stats()["rows_in_use"] == 0 and one.stats()["rows_in_use"] == 1


def test_loading_at_the_same_time_loads_once(folder):
    told = [[], []]
    one, two = in_threads(
        *(
            lambda i=i: dsm_mlx.load_stt(folder, progress=lambda f, w: told[i].append(f))
            for i in range(2)
        )
    )
    assert one._core is two._core
    assert sorted(map(len, told))[0] <= 3 < sorted(map(len, told))[1]


# ---- progress


def test_progress_of_loading_rises_and_is_told_on_this_thread(folder, speaking):
    for load, path in ((dsm_mlx.load_stt, folder), (dsm_mlx.load_tts, speaking)):
        told = []

        def progress(fraction, what, told=told):
            told.append((fraction, what, threading.current_thread()))

        load(path, progress=progress)
        fractions = [fraction for fraction, *_ in told]
        assert fractions[0] == 0.0 and fractions[-1] == 1.0
        assert fractions == sorted(fractions) and len(set(fractions)) > 4
        assert {thread for *_, thread in told} == {threading.current_thread()}
        assert all(isinstance(what, str) and what for _, what, _ in told)


@pytest.mark.parametrize("at", [0, 1, 3, -1])
def test_an_error_in_progress_ends_that_load_only(folder, at):
    count = [0]
    dsm_mlx.load_stt(folder, progress=lambda *_: count.__setitem__(0, count[0] + 1)).close()
    told = []

    def progress(*_):
        told.append(_)
        if len(told) == at % count[0] + 1:
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        dsm_mlx.load_stt(folder, progress=progress)
    assert len(fed(dsm_mlx.load_stt(folder), PCM)) > 10


def test_an_error_in_progress_ends_that_work_only(folder, speaking):
    stt, tts = dsm_mlx.load_stt(folder), dsm_mlx.load_tts(speaking)
    expected, said = fed(stt, PCM), tts.synthesize("One two", seed=1)

    def broken(_):
        raise KeyError("mine")

    with stt.stream() as stream:
        for call in (
            lambda: stt.transcribe([PCM] * 3, sample_rate=RATE, progress=broken),
            lambda: run(stt.atranscribe([PCM] * 3, sample_rate=RATE, progress=broken)),
            lambda: tts.synthesize(["One", "two"], progress=broken),
            lambda: run(tts.asynthesize("One", progress=broken)),
        ):
            with pytest.raises(KeyError, match="mine"):
                call()
            assert all_free(tts) and eventually(lambda: stt.stats()["rows_in_use"] == 1)
        events = stream.feed(PCM)
    assert events + stream.final_events == expected
    np.testing.assert_array_equal(tts.synthesize("One two", seed=1).audio, said.audio)


def test_progress_of_work_adds_up(folder, speaking):
    stt, tts = dsm_mlx.load_stt(folder), dsm_mlx.load_tts(speaking)
    seconds, chunks = [], []
    stt.transcribe([PCM, PCM[:5000]], sample_rate=RATE, progress=seconds.append)
    assert sum(seconds) == pytest.approx(1.6 + 5000 / RATE) and min(seconds) >= 0
    speech = tts.synthesize("One two", progress=chunks.append)
    np.testing.assert_array_equal(np.concatenate([c.audio for c in chunks]), speech.audio)


# ---- closing


def test_closing_ends_its_streams_and_who_waits_for_them(folder, speaking):
    stt, tts = dsm_mlx.load_stt(folder), dsm_mlx.load_tts(speaking)
    stream, speech, fed_one = stt.stream(), tts.stream(), stt.stream()
    fed_one.feed(PCM)

    async def take(items):
        return [item async for item in items]

    def closing():
        assert eventually(lambda: stream._alone._holder and speech._alone._holder)
        stt.close()
        tts.close()

    *_, events, chunks = in_threads(closing, lambda: list(stream), lambda: run(take(speech)))
    assert events == chunks == []
    assert stt.streams == tts.streams == 0
    with pytest.raises(ValueError, match="closed"):
        fed_one.feed(PCM)


@pytest.mark.thorough
def test_draining_lets_streams_come_to_their_end(folder, speaking):
    """Pushed ones are heard to the end and their events may still be taken; speech is taken."""
    stt, tts = dsm_mlx.load_stt(folder), dsm_mlx.load_tts(speaking)
    expected, said = fed(stt, PCM), tts.synthesize("One two three four five six.", seed=1)
    pushed, fed_one, speech = stt.stream(), stt.stream(), tts.stream(seed=1)
    pushed.push(PCM)
    before = fed_one.feed(PCM)
    speech.feed("One two three four five six.")

    def drained():
        tts.close(drain=60)
        stt.close(drain=60)

    _, chunks = in_threads(drained, lambda: list(speech))
    np.testing.assert_array_equal(np.concatenate([c.audio for c in chunks]), said.audio)
    assert without_partials(iter(lambda: next(pushed, None), None)) == expected and before
    with pytest.raises(ValueError, match="closed"):
        fed_one.feed(PCM)


@pytest.mark.thorough
def test_closing_while_recordings_are_heard_and_texts_said(folder, speaking):
    """Who waits for them gets them, or an error; what has not begun is an error."""
    stt, tts = dsm_mlx.load_stt(folder), dsm_mlx.load_tts(speaking)
    begun = threading.Barrier(3)

    def outcome(call):
        told = []

        def progress(_):
            if not told:
                told.append(True)
                begun.wait()

        try:
            return call(progress)
        except ValueError as error:
            assert str(error) == "the model is closed"

    def closing():
        begun.wait()
        stt.close()
        tts.close()

    in_threads(
        closing,
        lambda: outcome(
            lambda told: stt.transcribe([PCM] * 9, sample_rate=RATE, batch=1, progress=told)
        ),
        lambda: outcome(lambda told: tts.synthesize(["one two"] * 9, batch=1, progress=told)),
    )


def test_draining_takes_no_longer_than_it_may(folder, speaking):
    stt, tts = dsm_mlx.load_stt(folder), dsm_mlx.load_tts(speaking)
    stream, speech = stt.stream(), tts.stream()
    stream.push(sound(10))
    stream.push(sound(10))  # of whose events only 10 s are heard
    speech.feed("One two three four five six seven eight nine ten eleven twelve")
    began = time.monotonic()
    stt.close(drain=0.5)
    tts.close(drain=0.5)
    assert 1.0 <= time.monotonic() - began < 20
    assert list(speech) == []


@pytest.mark.parametrize("drain", [-1, float("nan"), "long", None])
def test_no_such_time_to_drain(folder, drain):
    stt = dsm_mlx.load_stt(folder)
    with pytest.raises((ValueError, TypeError), match="drain is"):
        stt.close(drain=drain)
    assert len(fed(stt, PCM)) > 10


# ---- figures


def test_stats(folder):
    stt = dsm_mlx.load_stt(folder)
    stats = stt.stats()
    assert list(stats) == [
        "rows", "rows_in_use", "steps", "seconds_a_step", "frames_waiting", "streams",
    ]  # fmt: skip
    assert not any(stats.values())
    with stt.stream() as one, stt.stream() as two:
        events = one.feed(PCM)
        stats = stt.stats()
        assert (stats["rows"], stats["rows_in_use"], stats["streams"]) == (2, 2, 2)
        assert stats["steps"] == sum(isinstance(e, Pause) for e in events) == 20
        assert 0 < stats["seconds_a_step"] < 5 and stats["frames_waiting"] == 0
        two.push(PCM[:3000])
        assert eventually(lambda: stt.stats()["steps"] == 21)
    assert all_free(stt)
    assert stt.stats()["streams"] == 0 and stt.stats()["steps"] > 21


def test_info(small, folder, speaking):
    stt, tts = dsm_mlx.load_stt(folder), dsm_mlx.load_tts(speaking)
    heard, said = stt.info, tts.info
    assert (heard.kind, said.kind) == ("stt", "tts")
    assert heard.name == stt.name == str(folder) and said.name == str(speaking)
    assert heard.bytes == 4 * heard.parameters and heard.bits is None and heard.codebooks == 4
    assert heard.context == said.context == pytest.approx(1.28)
    assert (heard.delay, said.delay) == (0.5, pytest.approx(0.32))
    assert heard.languages == ("en", "fr") and stt.languages == ["en", "fr"]
    assert (stt.sample_rate, stt.frame_rate, tts.sample_rate) == (RATE, 12.5, RATE)
    assert (stt.delay, stt.delays, stt.pauses) == (0.5, (0.5,), True)
    assert not dsm_mlx.load_stt(small("stt-tiny-26")).pauses
    half = dsm_mlx.load_stt(folder, dtype="float16").info
    assert half.parameters == heard.parameters and half.bytes < heard.bytes
