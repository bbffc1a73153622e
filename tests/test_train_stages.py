"""tools/train from sound to checkpoints: resumable at any step, and dsm_mlx loads what comes out.

Needs PyTorch and moshi: in this Python, or in the one that the variable DSM_TRAIN_PYTHON names.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dsm_mlx
from dsm_mlx.files import safetensors
from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.tts.machine import ScriptMachine
from dsm_mlx.tts.script import Entry

ROOT = Path(__file__).parents[1]
PYTHON = os.environ.get("DSM_TRAIN_PYTHON", sys.executable)
UNTOLD = -100
STAGES = ("encoder", "decoder", "stt", "tts")


def trains():
    if "DSM_TRAIN_PYTHON" in os.environ:
        return True
    return all(importlib.util.find_spec(name) for name in ("torch", "moshi"))


pytestmark = pytest.mark.skipif(not trains(), reason="needs torch and moshi (the extra `train`)")


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    command = [PYTHON, ROOT / "tests" / "train_stages.py", folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def weights(folder):
    import mlx.core as mx

    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {
            f"{path.name}:{name}": np.array(w.astype(mx.float32))
            for name, w in mx.load(str(path)).items()
        }
    return found


def test_a_time_budget_of_nothing_still_advances_a_step(work):
    calls = json.loads((work / "calls.json").read_text())
    assert all(calls["once"][stage] == 1 for stage in STAGES)
    assert all(calls["bits"][stage] == 4 for stage in STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_stopping_and_resuming_changes_nothing(work, stage):
    once, bits = weights(work / "once" / stage), weights(work / "bits" / stage)
    assert once.keys() == bits.keys() and once
    for name in once:
        assert np.array_equal(once[name], bits[name]), name


def test_training_moves_the_weights_that_a_stage_owns(work):
    encoder, decoder = weights(work / "once" / "encoder"), weights(work / "once" / "decoder")
    moved = {
        name.partition(":")[2].partition(".")[0]
        for name in encoder
        if not np.array_equal(encoder[name], decoder[name])
    }
    assert moved == {"decoder", "decoder_transformer", "upsample"}


def test_encoding_in_stretches_gives_the_codes_of_the_codec(work):
    codes = np.load(work / "codes.npz")
    assert codes["ours"].shape == (3, 8, 250) and np.array_equal(codes["ours"], codes["whole"])


@pytest.mark.parametrize("stage", ["decoder", "tts"])
def test_a_stage_goes_on_from_a_finished_one(work, stage):
    start, taken_over = weights(work / "once" / stage), weights(work / "taken over" / stage)
    assert start.keys() == taken_over.keys()
    for name in start:
        np.testing.assert_allclose(taken_over[name], start[name], rtol=1e-5, atol=1e-6)


def test_speech_to_text_loads_and_listens(work):
    stt = dsm_mlx.load_stt(str(work / "once" / "stt"))
    assert stt.pauses and stt.delay == 0.5
    sound = np.random.default_rng(1).normal(0, 0.1, 24_000).astype(np.float32)
    for delay in (None, 0.16, 2.5):
        assert isinstance(stt.transcribe(sound, sample_rate=24_000, delay=delay).text, str)


def test_text_to_speech_loads_and_speaks_in_its_voices(work):
    tts = dsm_mlx.load_tts(str(work / "once" / "tts"))
    assert len(tts.voices()) >= 6
    speech = {v: tts.synthesize("hello there", v, seed=1, cfg=2.0) for v in tts.voices()[:2]}
    first, second = (s.audio for s in speech.values())
    assert min(first.size, second.size) > 1920
    assert first.size != second.size or not np.array_equal(first, second)


def test_the_codec_is_the_one_that_was_trained(work):
    """Codes that training wrote to disk are those that dsm_mlx computes from the same sound."""
    codec = dsm_mlx.load_codec(str(work / "once" / "codec"))
    data = work / "once" / "data"
    pcm = np.load(data / "train-00000.pcm.npz")["pcm"][0].astype(np.float32) / 32768
    wanted = np.load(data / "train-00000.codes.npz")["codes"][0]
    same = np.asarray(codec.encode(pcm[None, None]))[0] == wanted
    assert same.mean() > 0.99


def test_what_the_codec_says_is_encoded_again(work):
    """And keeps the labels of what it was made of."""
    data = work / "once" / "data"
    said, heard = (np.load(data / f"{split}-00000.codes.npz") for split in ("tts", "decoded"))
    assert said["codes"].shape == heard["codes"].shape and heard["codes"].dtype == np.uint16
    assert (said["words"] == heard["words"]).all() and (said["phones"] == heard["phones"]).all()
    codec = dsm_mlx.load_codec(str(work / "once" / "codec"))
    pcm = np.asarray(codec.decode(said["codes"][:1].astype(np.int32)))
    assert (np.asarray(codec.encode(pcm))[0] == heard["codes"][0]).mean() > 0.95


def test_exports_keep_to_the_official_layout(work):
    header = safetensors.read_header(work / "once" / "stt" / "model.safetensors")
    assert "text_emb.weight" in header.tensors and "extra_heads.3.weight" in header.tensors
    assert not any(name.startswith("depformer") for name in header.tensors)


def test_the_figures_of_the_card_are_measured(work):
    """The whole way of measure.py, on what was trained here: untrained, so it gets all wrong."""
    once = work / "once"
    command = [sys.executable, ROOT / "tools/train/measure.py", once / "stt"]
    command += ["--shard", once / "data" / "train-00000.pcm.npz", "--count", "2"]
    command += ["--tts", once / "tts", "--minutes", "0.1", "--nothing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    for said in (" words)", "words start", "pauses of 3 s", "silence: ", "minutes in one go"):
        assert said in done.stdout, said


@pytest.mark.parametrize("mask", ["context", "causal", "all"])
def test_attention_in_blocks_is_attention(work, mask):
    found = np.load(work / "attention.npz")
    np.testing.assert_allclose(found[f"{mask} ours"], found[f"{mask} torch"], atol=2e-5)


def test_the_script_of_training_is_the_one_of_speaking(work):
    """Given the decisions that training asks for, dsm_mlx tells the model the same tokens."""
    case = json.loads((work / "script.json").read_text())
    machine = ScriptMachine(150, 2, max_padding=1000)
    machine.add(Entry(tuple(tokens), text, padding) for tokens, text, padding in case["entries"])
    machine.end()
    begun = []
    for step, (token, decision) in enumerate(zip(case["tokens"], case["decisions"], strict=True)):
        told, entry = machine.step(step, PADDING if decision == UNTOLD else decision)
        assert told == token, step
        if entry:
            begun.append(step)
    assert machine.end_step is not None and machine.empty
    # A break for each of the two pauses; words of one speaker may queue for a few steps.
    assert [not tokens for tokens, _, _ in case["entries"]].count(True) == 2
    late = [step - due for step, due in zip(begun, case["due"], strict=True)]
    assert min(late) == 0 and max(late) <= 8
    assert case["decisions"].count(NEW_WORD) == len(begun) + 1
