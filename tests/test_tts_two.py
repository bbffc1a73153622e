"""Models that write two people's sound at once; what they say is in test_tts_golden.py."""

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_map
from speaking import load

import dsm_mlx
from dsm_mlx.errors import CheckpointError

NAME = "tts-tiny-two"


def test_rows_keep_their_two_voices(checkpoint):
    """Two rows of which one rests, and each by itself."""
    step = load(checkpoint(NAME), dtype="float32").step
    codes = mx.random.randint(0, 64, (3, 2, 16, 1), key=mx.random.key(3))
    conditions = {"temperature": mx.zeros(1), "padding_bonus": mx.zeros(1)}
    alone = [step.init_state(conditions, mx.zeros((1, 2), mx.uint32)) for _ in range(2)]
    both = tree_map(lambda *rows: mx.concatenate(rows), *alone)
    for frame, active in zip(codes, (None, mx.array([True, False]), None), strict=True):
        pcm, both = step.decode(frame, both, active)
        for row in range(2):
            if active is None or active[row].item():
                own, alone[row] = step.decode(frame[row : row + 1], alone[row])
                np.testing.assert_allclose(pcm[row], own[0], atol=1e-6)


def test_both_are_heard(checkpoint):
    """Each by itself through the codec, and summed."""
    core = load(checkpoint(NAME), dtype="float32")
    codes = mx.random.randint(0, 64, (1, 16, 1), key=mx.random.key(4))
    conditions = {"temperature": mx.zeros(1), "padding_bonus": mx.zeros(1)}
    state = core.step.init_state(conditions, mx.zeros((1, 2), mx.uint32))
    pcm, _ = core.step.decode(codes, state)
    halves = [codes[:, :8], codes[:, 8:]]
    each = [core.codec.decode_step(half, core.codec.decoder_state(1))[0] for half in halves]
    np.testing.assert_allclose(pcm, each[0] + each[1], atol=1e-6)
    assert np.abs(each[0]).max() > 0 < np.abs(each[1]).max()


def test_through_the_public_face(checkpoint):
    with dsm_mlx.load_tts(checkpoint(NAME), codebooks=8) as tts:
        assert tts.info.codebooks == 8
        assert tts.synthesize("How are you", seed=1, max_seconds=2).audio.size


def test_what_cannot_be(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"codebooks is 7 \(expected a multiple of 2\)"):
        dsm_mlx.load_tts(checkpoint(NAME), codebooks=7)
    folder = fixtures.assemble(NAME, tmp_path / "two")
    for changes, message in (
        ({"dep_q": 8}, "'dep_q' is 8 .expected n_q, 16, because the model is 'multistream'"),
        ({"n_q": 15, "dep_q": 15}, "'n_q' is 15 .expected an even number"),
        ({"tts_config": {"audio_delay": 0.3, "multistream": "yes"}}, "'multistream' is 'yes'"),
    ):
        original = (folder / "config.json").read_text()
        fixtures.edit_json(folder / "config.json", lambda c, changes=changes: c.update(changes))
        with pytest.raises(CheckpointError, match=message):
            dsm_mlx.load_tts(folder)
        (folder / "config.json").write_text(original)
    folder = fixtures.assemble("tts-tiny-public", tmp_path / "cloning")
    fixtures.edit_json(folder / "config.json", lambda c: c["tts_config"].update(multistream=True))
    with pytest.raises(CheckpointError, match="'multistream' without the conditioner speaker_wavs"):
        dsm_mlx.load_tts(folder)
