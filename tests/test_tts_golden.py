"""Every decision and every code of a whole synthesis equals the reference's, at temperature 0."""

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_map
from speaking import compared, load, run_case

CASES = [
    "tts_1spk",
    "tts_1spk_cfgnone",
    "tts_2spk",
    "tts_other_first",
    "tts_batch2",
    "tts_padbonus",
    "tts_nq4",
    "tts_novoice5",
    "tts_cfg1",
    "tts_cfg2",
    "tts_cfg2_withtext",
    "tts_cfg2_batch2",
    "tts_public_prefix",
    "tts_public_prefix_cfg3",
    "tts_public_prefix_cfg3_batch2",
    "tts_single",
    "tts_shared",
    "tts_partial",
    "tts_two",
    "tts_two_nq8",
]


@pytest.mark.parametrize("case", CASES)
def test_whole_synthesis(case, checkpoint, golden):
    meta, arrays = fixtures.meta(case), golden(case)
    rows = run_case(case, checkpoint(meta["checkpoint"]))
    for what, ours, theirs in compared(rows, meta, arrays):
        assert ours == theirs, what
    for row, pcm in zip(rows, arrays.get("pcm", []), strict=False):
        check_sound(np.concatenate(row.pcm), pcm[0])


def check_sound(pcm, expected):
    """Equal as long as the reference's streaming decoder is right: its window of 20 positions is
    one too short once it is full (see reference/README.md). At the end the sound fades out."""
    assert pcm.shape == expected.shape
    exact = 10 * 1920
    np.testing.assert_allclose(pcm[:exact], np.clip(expected[:exact], -1, 1), atol=1e-4)
    assert pcm[-1] == 0 and np.abs(pcm[-480:-240]).max() > 0


@pytest.mark.parametrize("name", ["tts-tiny", "tts-tiny-nativecfg", "tts-tiny-public"])
@pytest.mark.parametrize("active", [None, mx.array([True, False])])
def test_a_step_can_be_compiled(name, active, checkpoint, monkeypatch):
    """On a GPU it is (see `dsm_mlx.runtime.device`). Tracing fails where anything leaves the
    device; what it gives is not computed here, because on a CPU that calls g++ for every kernel."""
    monkeypatch.setenv("DSM_MLX_COMPILE", "1")
    step, guided = load(checkpoint(name)).step, name != "tts-tiny"
    conditions = {"temperature": mx.ones(1), "padding_bonus": mx.zeros(1)}
    if guided:
        conditions |= {"guidance": mx.full((1,), 2.0), "null_until": mx.array([9])}
    state = step.init_state(conditions, mx.zeros((1, 2), mx.uint32))
    state = tree_map(lambda one: mx.concatenate([one, one]), state)
    sampled, state = step.sample_text(state, None, active)
    forced = mx.full((2, 8), -2, mx.int32)
    for depth in (True, False):
        codes, _, after = step.sample_audio(
            state, sampled, sampled["text"], forced, active, depth=depth
        )
        assert codes.shape == (2, 8, 1) and after["row"].keys() == state["row"].keys()
    pcm, _ = step.decode(codes, state, active)
    assert pcm.shape == (2, 1920)
