"""Every decision and every code of a whole synthesis equals the reference's, at temperature 0."""

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_map
from speaking import load, run_case

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
]


@pytest.mark.parametrize("case", CASES)
def test_whole_synthesis(case, checkpoint, golden):
    meta, arrays = fixtures.meta(case), golden(case)
    longest = meta["n_steps"] - meta["n_frames"]
    rows = run_case(case, checkpoint(meta["checkpoint"]))
    for i, row in enumerate(rows):
        # tokens that the model is given, in every step until the row has said all
        given = [out for _, out in meta["logged_text_tokens"][i]]
        steps = row.first + len(row.tokens)
        end = meta["end_steps"][i] + meta["delay_steps"] + meta["final_padding"]
        assert steps == end
        assert row.tokens == given[row.first : steps]
        # codes of every frame
        first_frame = max(0, row.first - longest)
        codes = np.stack(row.codes[first_frame + longest - row.first :], axis=-1)
        expected = arrays["frames"][i, 1 : 1 + meta["n_q"], first_frame : steps - longest]
        np.testing.assert_array_equal(codes, expected)
        # when each word began
        words = [[w.text, round(w.start * 12.5) + row.first] for w in row.session.words]
        assert words == meta["transcripts"][i]
        if "pcm" in arrays:
            check_sound(np.concatenate(row.pcm), arrays["pcm"][i, 0])


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
