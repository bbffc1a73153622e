"""A stream as bytes: whoever goes on from them hears what the stream would have heard.

DSM_MLX_MINUTES=30 saves and resumes through so much sound, every minute; the suite through a
minute, every two seconds.
"""

import faulthandler
import json
import os
import random
import subprocess
import sys
from subprocess import PIPE

import golden as fixtures
import numpy as np
import pytest
from mlx.utils import tree_flatten
from streaming import (
    all_free,
    fed,
    own,
    pieces,
    rest,
    resumed,
    sound,
    without_partials,
    words,
)
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx import BusyError, Mark, TurnPolicy
from dsm_mlx.runtime import worker
from dsm_mlx.stt import saving

MINUTES = float(os.environ.get("DSM_MLX_MINUTES", "0"))
PCM = sound(2.4)


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("saving")))


@pytest.fixture(scope="module")
def delayed(small):
    return dsm_mlx.load_stt(small("stt-tiny-26"))


def test_a_row_is_read_an_array_a_turn(stt):
    """So that nobody else waits while a hundred megabytes are read."""
    with stt.stream() as stream:
        stream.feed(PCM)
        saved = saving.Saved(stream.save(), stt._core.identity)
        state, turns = worker.run(stt._core.batch.value, stream._session), []
        again = worker.run_pieces(saved.state(state), turns.append)
    pairs = list(zip(tree_flatten(again), tree_flatten(state), strict=True))
    assert len(turns) == len(pairs) > 10
    assert all(np.array_equal(one, other) for (_, one), (_, other) in pairs)


@pytest.mark.thorough
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("model", ["stt", "delayed"])
def test_a_stream_goes_on_from_its_bytes(model, seed, request):
    """With sound waiting, parts of frames, events untaken, marks, flushes and resets queued."""
    stt, rng, options = request.getfixturevalue(model), random.Random(seed), {}
    if seed % 2:
        options = {"temperature": 0.9, "seed": seed, "turns": TurnPolicy(0.5, 0.2, 1, 0.1)}
    parts = pieces(PCM, seed, most=9000)
    marks = [{"a": [i, None, "ü", 0.1]} for i in range(len(parts))]
    do = [rng.choice(["flush", "reset", *[None] * 6]) for _ in parts]

    def play(stream, between):
        taken = []
        for part, mark, also in zip(parts, marks, do, strict=True):
            stream.give(part)
            if also:
                getattr(stream, also)()
            stream.mark(mark)
            taken += [next(stream) for _ in range(rng.randrange(3))]
            stream = between(stream)
        return without_partials(taken) + rest(stream)

    whole = play(stt.stream(**options), lambda stream: stream)
    again = play(stt.stream(**options), lambda stream: resumed(stt, stream))
    assert again == whole and words(whole)
    assert [event.value for event in whole if isinstance(event, Mark)] == marks
    assert all_free(stt)


def test_what_is_fed_is_saved_too(stt, delayed):
    for model in (stt, delayed):
        stream, events = model.stream(), []
        for part in pieces(PCM, 3):
            events += stream.feed(part)
            before = stream.time, stream.waiting, stream.partial_word
            stream = resumed(model, stream)
            assert (stream.time, stream.waiting, stream.partial_word) == before
        with stream:
            pass
        assert events == fed(model, PCM)[: len(events)]
        stream = model.resume(model.stream().save())
        assert stream.feed(PCM) + stream.flush() == fed(model, PCM)
        stream.close()


def test_saving_disturbs_nothing_and_resuming_may_be_done_often(stt):
    whole = fed(stt, np.concatenate([PCM, PCM]))
    with stt.stream() as stream:
        before = stream.feed(PCM)
        data = stream.save()
        assert stream.save() == data
        for _ in range(2):
            with stt.resume(data) as again:
                after = again.feed(PCM)
            assert before + after + again.final_events == whole
        before += stream.feed(PCM)
    assert before + stream.final_events == whole


GOES_ON = """
import sys
import mlx.core as mx
import numpy as np
mx.set_default_device(mx.cpu)
import dsm_mlx

folder, saved, pcm = sys.argv[1:]
stt = dsm_mlx.load_stt(folder)
stream = stt.resume(open(saved, "rb").read())
stream.push(np.load(pcm))
stream.end()
for event in stream:
    if not isinstance(event, dsm_mlx.Partial):
        print(repr(event))
data = stt.resume(open(saved, "rb").read()).save()
open(saved, "wb").write(data)
"""


def test_another_process_goes_on_exactly(small, stt, tmp_path):
    """Also from another path; and here goes on what it saved."""
    folder = own(small("stt-tiny"), tmp_path)
    saved, pcm = tmp_path / "stream", tmp_path / "pcm.npy"
    np.save(pcm, PCM)
    with stt.stream(temperature=0.7, seed=9) as stream:
        for part in pieces(PCM, 1):
            stream.push(part)
        stream.mark("x")
        next(stream)
        saved.write_bytes(stream.save())
        before = saved.read_bytes()
        stream.push(PCM)
        expected = rest(stream)
    command = [sys.executable, "-c", GOES_ON, folder, saved, pcm]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == [repr(event) for event in expected], done.stderr
    assert saved.read_bytes() != before  # what that process saved
    with stt.resume(saved.read_bytes()) as stream:
        stream.push(PCM)
        assert rest(stream) == expected


IN_TURNS = """
import sys
import mlx.core as mx
mx.set_default_device(mx.cpu)
import dsm_mlx

folder, saved, tests = sys.argv[1:]
sys.path.insert(0, tests)
from streaming import sound

stt = dsm_mlx.load_stt(folder)
for line in sys.stdin:
    with open(saved, "rb") as file:
        stream = stt.resume(file.read())
    first, last = map(int, line.split())
    events = [event for second in range(first, last) for event in stream.feed(sound(1, second))]
    with open(saved, "wb") as file:
        file.write(stream.save())
    stream.close()
    print(repr(events), flush=True)
"""


@pytest.mark.thorough
def test_two_processes_hear_a_stream_in_turns(small, stt, tmp_path):
    """As services would that may be stopped at any time."""
    every, seconds = (60, round(MINUTES * 60)) if MINUTES else (2, 60)
    faulthandler.cancel_dump_traceback_later()  # half an hour takes some minutes
    saved, events = tmp_path / "stream", []
    command = [sys.executable, "-c", IN_TURNS, small("stt-tiny"), saved, os.path.dirname(__file__)]
    stream = stt.stream()
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as other:
        for first in range(0, seconds, every):
            last = min(first + every, seconds)
            if first // every % 2:
                saved.write_bytes(stream.save())
                stream.close()
                print(first, last, file=other.stdin, flush=True)
                events.append(other.stdout.readline().strip())
                stream = stt.resume(saved.read_bytes())
            else:
                heard = [e for second in range(first, last) for e in stream.feed(sound(1, second))]
                events.append(repr(heard))
        assert stream.time == seconds and saved.stat().st_size < 64_000  # it does not grow
        ending = stream.flush()
        stream.close()
        other.stdin.close()
    with stt.stream() as stream:
        whole = [
            [
                e
                for second in range(first, min(first + every, seconds))
                for e in stream.feed(sound(1, second))
            ]
            for first in range(0, seconds, every)
        ]
    assert events == [repr(heard) for heard in whole] and ending == stream.final_events
    assert len(words(e for heard in whole for e in heard)) > seconds / 2


# ---- what is refused


def test_a_row_is_needed(small, tmp_path):
    stt = dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path), max_streams=1)
    with stt.stream() as stream:
        data = stream.save()
        with pytest.raises(BusyError, match="all 1 streams"):
            stt.resume(data)
    stt.resume(data).close()
    with pytest.raises(ValueError, match="the stream is closed"):
        stream.save()


def wide_heads(small, parent):
    """A model whose keys and values can be kept in 8 bits."""
    folder = own(small("stt-tiny-26"), parent)
    fixtures.edit_json(folder / "config.json", lambda config: config.update(num_heads=1))
    return folder


def test_another_model_bits_dtype_or_cache(small, checkpoint, stt, tmp_path):
    other = own(small("stt-tiny"), tmp_path)
    fixtures.edit_json(other / "config.json", lambda config: config.update(context=8))
    q64, wide = checkpoint("stt-q64"), wide_heads(small, tmp_path)
    loaded = {
        "model": dsm_mlx.load_stt(small("stt-tiny-26")),
        "config": dsm_mlx.load_stt(other),
        "dtype": dsm_mlx.load_stt(small("stt-tiny"), dtype="bfloat16"),
        "cache": dsm_mlx.load_stt(small("stt-tiny"), cache="float16"),
        "bits": dsm_mlx.load_stt(q64, bits=8),
        "other bits": dsm_mlx.load_stt(q64, bits=4),
        "q8 cache": dsm_mlx.load_stt(wide, cache="q8"),
        "without it": dsm_mlx.load_stt(wide),
        "whole": dsm_mlx.load_stt(q64, dtype="float32"),
    }
    saved = {"this": stt} | loaded
    for name, model in saved.items():
        with model.stream() as stream:
            saved[name] = stream.save()
    for name, model in loaded.items():
        for whose, data in saved.items():
            if whose == name:
                model.resume(data).close()
                continue
            with pytest.raises(ValueError, match=r"of another model, .*bits, dtype or cache"):
                model.resume(data)
        assert model.streams == 0


@pytest.mark.thorough
def test_every_form_of_a_model_goes_on(small, checkpoint, tmp_path):
    """Its state in halves, in 8 bits, after other codebooks' delays."""
    for name, options in (
        ("stt-tiny", {"dtype": "float16"}),
        ("stt-tiny", {"dtype": "bfloat16", "cache": "float32"}),
        ("stt-q64-mlx-q4", {}),
        ("wide", {"cache": "q8"}),
        ("stt-tiny-delayed", {}),
        ("stt-tiny-cond", {}),
    ):
        folder = checkpoint(name) if "q64" in name else None
        folder = folder or (wide_heads(small, tmp_path) if name == "wide" else small(name))
        stt, pcm = dsm_mlx.load_stt(folder, **options), PCM[:20_000]
        with stt.stream() as stream:
            before = stream.feed(pcm)
            with stt.resume(stream.save()) as again:
                assert again.feed(pcm) + again.flush() == stream.feed(pcm) + stream.flush()
        assert before


def test_what_is_no_saved_stream(stt):
    with stt.stream() as stream:
        stream.push(PCM)
        data = stream.save()
    head = data.index(b"\n") + 1
    for bad in (b"", b"x", b"\n" * 50, b"RIFF" + data, data[:5], data[: head - 1], bytes(1000)):
        with pytest.raises(ValueError, match=r"data is no saved stream \(expected what"):
            stt.resume(bad)
    rng = random.Random(1)
    cuts = [data[: rng.randrange(head, len(data))] for _ in range(40)] + [data[:-1], data + b"x"]
    flips = []
    for _ in range(80):
        flipped = bytearray(data)
        flipped[rng.randrange(head, len(data))] ^= 1 << rng.randrange(8)
        flips.append(bytes(flipped))
    for bad in cuts + flips:
        with pytest.raises(ValueError, match="data is damaged or cut short"):
            stt.resume(bad)
    other = data.replace(b"stream %d\n" % saving.FORMAT, b"stream 77\n", 1)
    with pytest.raises(ValueError, match=rf"data is of format b'77' \(expected {saving.FORMAT}\)"):
        stt.resume(other)
    for bad in ("text", None, [data], 5):
        with pytest.raises(TypeError, match=r"data is \w+ \(expected what `save` gave, bytes\)"):
            stt.resume(bad)
    assert stt.streams == 0 and all_free(stt)
    for good in (bytearray(data), memoryview(data)):
        stt.resume(good).close()


LOOP: list = []
LOOP.append(LOOP)


@pytest.mark.parametrize(
    "value",
    [object(), (1, 2), {1: "a"}, {"a": (1,)}, float("nan"), b"bytes", {1, 2}, LOOP, np.zeros(2)],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("known", [False, True])
def test_marks_that_json_cannot_hold(stt, value, known):
    """They are refused where they would come back as something else; the stream goes on."""
    with stt.stream() as stream:
        stream.mark("before")
        if not known:
            stream.push(PCM)  # so that the mark is still in the queue
        stream.mark(value)
        if known:
            next(stream)
        with pytest.raises(ValueError, match=r"cannot be saved: a mark's value is .*JSON can hold"):
            stream.save()
        with stream.fork() as fork:
            fork.end()
            found = [event.value for event in fork if isinstance(event, Mark)]
        assert found[-1] is value
        found = [event.value for event in rest(stream) if isinstance(event, Mark)]
        assert found[-1] is value


def test_marks_that_come_back(stt):
    values = [None, True, 0, -1.5, 10**30, "", "\ud800 ü\n", [], {"a": {"b": [1, None]}}]
    with stt.stream() as stream:
        for value in values:
            stream.mark(value)
        again = stt.resume(stream.save())
    again.end()
    found = [event.value for event in again if isinstance(event, Mark)]
    again.close()
    assert found == values and json.dumps(found) == json.dumps(values)
