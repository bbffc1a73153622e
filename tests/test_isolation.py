"""No session harms another: bad sound, damaged weights."""

import asyncio
import json
import math
import random

import commands
import mlx.core as mx
import numpy as np
import pytest
import soundfile
from mlx.utils import tree_map
from streaming import RATE, all_free, fed, own, run, sound, words
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import AudioError, CheckpointError
from dsm_mlx.runtime import worker

POISON = 3e38  # finite, but its square is not


@pytest.fixture(scope="module")
def listeners(small, tmp_path_factory):
    """A model, and one whose keys and values are kept in 8 bits."""
    folder = own(small("stt-tiny"), tmp_path_factory.mktemp("isolation"))
    config = json.loads((folder / "config.json").read_text())
    config["num_heads"] = 1  # so that a head is 32 wide
    (folder / "config.json").write_text(json.dumps(config))
    return {None: dsm_mlx.load_stt(folder), "q8": dsm_mlx.load_stt(folder, cache="q8")}


@pytest.fixture(params=[None, "q8"])
def stt(listeners, request):
    return listeners[request.param]


@pytest.fixture(scope="module")
def tts(small):
    return dsm_mlx.load_tts(small("tts-tiny"))


def poisoned(pcm):
    pcm = pcm.copy()
    pcm[pcm.size // 2] = POISON
    return pcm


# ---- bad sound


def test_a_poisoned_recording_and_two_good_ones(stt):
    good = [sound(2.1, 1), sound(1.3, 2)]
    alone = [stt.transcribe(pcm, sample_rate=RATE) for pcm in good]
    three = [good[0], poisoned(sound(2, 3)), good[1]]
    with pytest.raises(AudioError, match=r"reach 3e\+38 .*expected values from -1 to 1"):
        stt.transcribe(three, sample_rate=RATE)
    for batch in (1, 2, 8):
        events, errors = [[], [], []], {}
        for part in stt.transcribe_events(three, sample_rate=RATE, batch=batch):
            events[part.index] += part.events
            if part.error:
                errors[part.index] = part.error
        assert list(errors) == [1] and isinstance(errors[1], AudioError)
        found = [[e for e in events[i] if isinstance(e, dsm_mlx.Pause)] for i in (0, 2)]
        assert found == [result.pauses for result in alone]
        assert [words(events[i]) for i in (0, 2)] == [words(result.words) for result in alone]
    assert [stt.transcribe(pcm, sample_rate=RATE) for pcm in good] == alone


def test_a_poisoned_file_and_two_good_ones_in_one_command(small, tmp_path):
    files = [tmp_path / f"{name}.wav" for name in ("first", "bad", "last")]
    for i, file in enumerate(files):
        pcm = sound(1.5, i)
        soundfile.write(file, poisoned(pcm) if file.stem == "bad" else pcm, RATE, "FLOAT")
    model = ["--model", small("stt-tiny")]
    alone = [commands.run(commands.STT, file, *model) for file in (files[0], files[2])]
    assert [status for status, _, _ in alone] == [0, 0]
    status, out, err = commands.run(commands.STT, *files, *model)
    assert status == 1 and "bad.wav" in err and "3e+38" in err and "Traceback" not in err
    expected = {f"{files[k]}: {alone[i][1]}" for i, k in enumerate((0, 2))}
    assert set(out.splitlines(keepends=True)) == expected


def test_a_live_stream_after_bad_sound_and_after_a_reset(stt):
    first, second = sound(1.1, 1), sound(1.7, 2)
    fresh = fed(stt, second)
    with stt.stream() as stream:
        events = stream.feed(first)
        for bad in (poisoned(second), np.full(100, np.nan), second * 32768):
            with pytest.raises(AudioError):
                stream.feed(bad)
        events += stream.feed(second)
        assert events == fed(stt, np.concatenate([first, second]))[: len(events)]
        with pytest.raises(AudioError):
            stream.feed(poisoned(first))
        stream.reset()
        begun = stream.time
        again = stream.feed(second)
    found = [(text, start - begun) for text, start in words(again + stream.final_events)]
    assert [text for text, _ in found] == [text for text, _ in words(fresh)]
    assert [start for _, start in found] == pytest.approx([s for _, s in words(fresh)], abs=0.002)


def not_finite(session):
    """Have its row hold nothing but NaN, as no sound and only damaged weights can."""

    def damage():
        session.beginning = tree_map(
            lambda a: a * float("nan") if mx.issubdtype(a.dtype, mx.floating) else a,
            session.beginning,
        )

    worker.run(damage)


def test_nothing_is_left_in_a_row(small, tmp_path):
    """Whoever gets the row of one that ended in NaN, or was reset in it, is as alone."""
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path), max_streams=2)
    pcm = sound(1.5)
    expected = fed(stt, pcm)
    for _ in range(3):
        beside, bad = stt.stream(), stt.stream()
        events = beside.feed(pcm[:9000])
        not_finite(bad._session)
        with pytest.raises(CheckpointError, match=r"stt-tiny: .*not finite"):
            bad.feed(pcm)
        bad.close()
        assert fed(stt, pcm) == expected
        events += beside.feed(pcm[9000:]) + beside.flush()
        assert events == expected
        beside.close()
    assert all_free(stt)


@pytest.mark.parametrize(
    "bad, told",
    [
        (np.array([0, 3e38], np.float32), r"reach 3e\+38"),
        (np.array([0, -1e300]), "infinity at"),
        (np.array([0, np.nan, 0], np.float16), "NaN or infinity at"),
        (np.array([0.1, np.inf]), "NaN or infinity at"),
        (
            np.array([100.0, -32768.0], np.float32),
            "reach 3.277e.04 .*16-bit .*divide them by 32768",
        ),
        (np.array([100.0, -9.0], np.float32), "reach 100"),
    ],
)
def test_samples_out_of_range_are_refused_everywhere(listeners, bad, told):
    stt = listeners[None]
    pcm = sound(0.5)
    bad = np.concatenate([pcm, bad])
    with stt.stream() as stream, pytest.raises(AudioError, match=told):
        stream.feed(bad)
    with stt.stream() as stream:
        stream.push(pcm)
        with pytest.raises(AudioError, match=told):
            stream.push(bad)
        stream.push(pcm)
        stream.end()
        found = words(stream)
    assert found == words(fed(stt, np.concatenate([pcm, pcm])))
    with pytest.raises(AudioError, match=told):
        stt.transcribe(bad, sample_rate=RATE)
    with pytest.raises(AudioError, match=told):
        list(stt.listen([pcm, bad]))
    assert all_free(stt)


def test_ordinary_overs_pass(listeners):
    stt, pcm = listeners[None], sound(1) * 6
    assert 4 < np.abs(pcm).max() <= 8
    assert fed(stt, pcm)
    assert stt.transcribe(pcm, sample_rate=RATE).duration == 1


# ---- damaged weights


def damaged(folder, parent, file, name, change):
    """A copy of a model in which one tensor is changed."""
    folder = own(folder, parent)
    path = folder / json.loads((folder / "config.json").read_text())[file]
    tensors = mx.load(str(path))
    values = np.array(tensors[name])
    with np.errstate(over="ignore"):
        change(values)
    tensors[name] = mx.array(values)
    mx.eval(tensors)
    path.unlink()
    mx.save_safetensors(str(path), tensors)
    return folder


def overflowing(values):
    """Finite, but not what is computed from it."""
    values *= 2e38 / np.abs(values).max()


def overflowing_at_the_end(values):
    """Only the last of the outputs is no number."""
    values[-1] = np.where(values[-1] < 0, -2e38, 2e38)


def one_nan(values):
    values.reshape(-1)[values.size // 2] = np.nan


@pytest.mark.parametrize(
    "name, file, tensor",
    [
        ("stt-tiny", "moshi_name", "transformer.layers.0.gating.linear_in.weight"),
        ("stt-tiny", "mimi_name", "encoder.model.0.conv.conv.weight"),
        ("tts-tiny", "moshi_name", "depformer.slices.0.linear_in.weight"),
        ("tts-tiny", "mimi_name", "decoder.model.2.convtr.convtr.bias"),
    ],
)
def test_nan_in_a_weight_is_told_when_it_is_loaded(small, tmp_path, name, file, tensor):
    folder = damaged(small(name), tmp_path, file, tensor, one_nan)
    load = dsm_mlx.load_stt if name == "stt-tiny" else dsm_mlx.load_tts
    with pytest.raises(CheckpointError, match=rf"{folder.name}.*{tensor}.*not finite"):
        load(folder)


IN_PROJ = "transformer.layers.0.self_attn.in_proj.weight"
STT_OVERFLOWS = [
    ("moshi_name", IN_PROJ),
    ("moshi_name", "extra_heads.1.weight"),
    ("moshi_name", "text_linear.weight"),
    ("mimi_name", "encoder_transformer.transformer.layers.0.self_attn.in_proj_weight"),
]


@pytest.mark.parametrize("file, tensor", STT_OVERFLOWS)
def test_weights_that_overflow_end_what_hears_with_them(small, tmp_path, listeners, file, tensor):
    def change(values):
        values *= 1e30 if "in_proj" in tensor else 3e38 / np.abs(values).max()

    stt = dsm_mlx.load_stt(damaged(small("stt-tiny"), tmp_path, file, tensor, change))
    pcm, good = sound(1), listeners[None]
    alone = fed(good, pcm)

    async def iterated():
        async with stt.stream() as stream:
            stream.push(pcm)
            return [event async for event in stream]

    with good.stream() as beside, stt.stream() as fed_one, stt.stream() as pushed:
        events = beside.feed(pcm[:5000])
        pushed.push(pcm)
        for call in (
            lambda: fed_one.feed(pcm),
            lambda: fed_one.feed(pcm),
            fed_one.flush,
            lambda: list(pushed),
            lambda: pushed.push(pcm),
            lambda: run(iterated()),
            lambda: stt.transcribe(pcm, sample_rate=RATE),
            lambda: stt.transcribe([pcm] * 3, sample_rate=RATE),
            lambda: asyncio.run(stt.atranscribe(pcm, sample_rate=RATE)),
            lambda: list(stt.listen([pcm])),
        ):
            with pytest.raises(CheckpointError, match=r"stt-tiny: .*not finite"):
                call()
        parts = list(stt.transcribe_events([pcm] * 2, sample_rate=RATE))
        assert {part.index for part in parts if isinstance(part.error, CheckpointError)} == {0, 1}
        events += beside.feed(pcm[5000:]) + beside.flush()
        fed_one.close()
    assert events == alone
    assert all_free(stt, good)


DEPTH = "depformer.slices.{}.{}.weight".format
TTS_OVERFLOWS = [
    ("moshi_name", IN_PROJ, overflowing),
    ("moshi_name", "text_linear.weight", overflowing_at_the_end),
    ("moshi_name", DEPTH(1, "linear_in"), overflowing),
    ("moshi_name", DEPTH(1, "transformer.layers.0.gating.linear_out"), overflowing),
    ("moshi_name", DEPTH(1, "linear_out"), overflowing_at_the_end),
    ("mimi_name", "decoder_transformer.transformer.layers.0.self_attn.in_proj_weight", overflowing),
]


@pytest.mark.parametrize("file, tensor, change", TTS_OVERFLOWS)
def test_weights_that_overflow_end_what_speaks(small, tmp_path, tts, file, tensor, change):
    bad = dsm_mlx.load_tts(damaged(small("tts-tiny"), tmp_path, file, tensor, change))
    alone = tts.synthesize("one two three", seed=5)

    def iterated():
        with bad.stream() as stream:
            stream.feed("one two three")
            stream.end()
            return list(stream)

    async def iterated_async():
        async with bad.stream() as stream:
            stream.feed("one two three")
            stream.end()
            return [chunk async for chunk in stream]

    with tts.stream(seed=5) as beside:
        beside.feed("one two three")
        beside.end()
        chunks = [next(beside)]
        for call in (
            iterated,
            lambda: run(iterated_async()),
            lambda: bad.synthesize("one two three"),
            lambda: bad.synthesize(["one", "two three"]),
            lambda: list(bad.speak(["one two three"])),
        ):
            with pytest.raises(CheckpointError, match=r"tts-tiny: .*not finite"):
                call()
        chunks += beside
    np.testing.assert_array_equal(np.concatenate([c.audio for c in chunks]), alone.audio)
    assert all_free(tts, bad)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["stt-tiny", "tts-tiny"])
def test_whatever_weight_is_huge_nothing_that_is_no_number_comes_out(small, tmp_path, name):
    """Numbers or an error that names the model; of all its tensors a few at random."""
    rng = random.Random(name)
    files = {"moshi_name": 10, "mimi_name": 7}
    config = json.loads((small(name) / "config.json").read_text())
    for file, count in files.items():
        tensors = mx.load(str(small(name) / config[file]))
        for i, tensor in enumerate(rng.sample(sorted(tensors), count)):
            factor = rng.choice([1e20, 1e30, 1e37])
            (tmp_path / f"{file}{i}").mkdir()

            def change(values, factor=factor):
                values *= factor
                np.nan_to_num(values, copy=False)

            folder = damaged(small(name), tmp_path / f"{file}{i}", file, tensor, change)
            try:
                numbers = told_numbers(folder, name)
            except CheckpointError as error:
                assert folder.name in str(error)
            else:
                assert all(map(math.isfinite, numbers)), (tensor, factor)


def told_numbers(folder, name):
    if name == "tts-tiny":
        return dsm_mlx.load_tts(folder).synthesize("one two", seed=1).audio
    found = dsm_mlx.load_stt(folder).transcribe(sound(0.6), sample_rate=RATE)
    pauses = [value for pause in found.pauses for value in pause.probabilities.values()]
    return pauses + [word.confidence for word in found.words]
