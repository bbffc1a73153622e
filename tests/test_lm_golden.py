"""The multistream model against the PyTorch reference, over five times its window of 16 steps.

The `dbl_*` goldens are what the reference gives when frame 0 is fed twice, because it drops the
first one. Our priming step stands for that: our step s hears frame s and equals golden step s + 1.
"""

import mlx.core as mx
import numpy as np
import pytest
from hearing import NoCodec, forced_logits, listen, load

from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.runtime.rows import Rows
from dsm_mlx.stt.step import SttStep
from dsm_mlx.transformer import ring

FRAMES = 80
PLAIN = ["stt-tiny", "stt-tiny-26", "stt-q64", "stt-tiny-shared"]
SHARED = (1, 6, 2, 32), (1, 2, 2, 2, 32)
QUANTISED = {"stt-tiny-mlx": "stt-tiny", "stt-q64-mlx-q4": "stt-q64", "stt-q64-mlx-q8": "stt-q64"}


def case_of(name: str) -> str:
    return name.replace("-", "_")


@pytest.mark.parametrize("name", [*PLAIN, "stt-tiny-delayed"])
def test_tokens_are_exact_alone_and_in_a_batch(checkpoint, golden, name):
    lm, case = load(checkpoint(name)), golden(case_of(name))
    together, _ = listen(lm, case["codes"])
    np.testing.assert_array_equal(together, case["dbl_text_tokens"][:, 1:])
    for row in range(3):
        alone, _ = listen(lm, case["codes"][row : row + 1])
        np.testing.assert_array_equal(alone[0], together[row])


@pytest.mark.parametrize("name", [*PLAIN, "stt-tiny-delayed"])
def test_without_frame_0_it_is_the_reference_as_it_is(checkpoint, golden, name):
    case = golden(case_of(name))
    tokens, _ = listen(load(checkpoint(name)), case["codes"][..., 1:])
    np.testing.assert_array_equal(tokens, case["text_tokens"][:, 1:])


def test_slots_that_are_empty_need_not_be_looked_at(checkpoint, golden, monkeypatch):
    monkeypatch.setattr(ring, "_BLOCK", 4)
    lm, arrays = load(checkpoint("stt-tiny")), golden("stt_tiny")
    sizes = [lm.seen(positions) for positions in range(1, 18)]
    assert sizes == [4] * 4 + [8] * 4 + [None] * 9
    tokens, _ = listen(lm, arrays["codes"], looks_at=lm.seen)
    np.testing.assert_array_equal(tokens, arrays["dbl_text_tokens"][:, 1:])


@pytest.mark.parametrize("bits", [None, 8])
def test_attention_to_a_part_of_a_ring(bits):
    """The same as to all of it, as long as the rest is empty."""
    key = mx.random.key(0)
    q, new = mx.random.normal((1, 2, 1, 32), key=key), mx.random.normal((1, 2, 2, 1, 32), key=key)
    cache = ring.empty((1, 2, 2, 96, 32), mx.float32, bits)
    window = ring.Window.of(mx.array([0]), 1, 96, 96)
    cache = ring.write(cache, window.slots, new)
    found = []
    for seen in (32, 64, 96):
        mask = ring.Window.of(mx.array([0]), 1, 96, 96, seen).mask
        assert mask.shape[-1] == seen
        found.append(ring.attend(q, *ring.keys_and_values(cache, seen), mask))
    assert mx.array_equal(found[0], found[2]) and mx.array_equal(found[1], found[2])
    assert [ring.reach(n, 750) for n in (1, 192, 193, 384, 385)] == [192, 192, 384, 384, None]


@pytest.mark.parametrize("bits", [None, 8])
def test_heads_that_share_keys_are_as_if_each_had_its_own(bits):
    q, new = (mx.random.normal(shape, key=mx.random.key(1)) for shape in SHARED)
    cache = ring.empty((1, 2, 2, 8, 32), mx.float32, bits)
    window = ring.Window.of(mx.array([3]), 2, 6, 8)
    k, v = ring.keys_and_values(ring.write(cache, window.slots, new), 8)
    repeated = ring.empty((1, 6, 2, 8, 32), mx.float32, bits)
    repeated = ring.write(repeated, window.slots, mx.repeat(new, 3, axis=1))
    expected = ring.attend(q, *ring.keys_and_values(repeated, 8), window.mask)
    np.testing.assert_allclose(ring.attend(q, k, v, window.mask), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["stt-tiny", "stt-q64"])
def test_pause_probabilities_are_within_1e_4(checkpoint, golden, name):
    case = golden(case_of(name))
    _, pauses = listen(load(checkpoint(name)), case["codes"])
    expected = np.swapaxes(case["dbl_extra_heads"][..., 0], 1, 2)[:, 1:]
    np.testing.assert_allclose(pauses, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", PLAIN)
def test_logits_are_within_1e_4(checkpoint, golden, name):
    case = golden(case_of(name))
    logits = forced_logits(load(checkpoint(name)), case["codes"], case["dbl_text_tokens"])
    np.testing.assert_allclose(logits, case["dbl_text_logits"], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype, tolerance", [("bfloat16", 0.03), ("float16", 0.005)])
def test_half_precision_stays_close(checkpoint, golden, dtype, tolerance):
    """Root mean square error of the logits in units of their spread; most tokens are the same."""
    lm, case = load(checkpoint("stt-tiny"), dtype), golden("stt_tiny")
    assert lm.dtype == getattr(mx, dtype)
    logits = forced_logits(lm, case["codes"], case["dbl_text_tokens"])
    expected = case["dbl_text_logits"]
    assert np.sqrt(np.mean((logits - expected) ** 2)) < tolerance * expected.std()
    assert np.mean(logits.argmax(-1) == case["dbl_text_tokens"]) > 0.95


@pytest.mark.parametrize("name", QUANTISED)
def test_mlx_layouts_equal_moshi_mlx(checkpoint, golden, name):
    """bfloat16, q4 and q8 files, computed in float32 as the goldens were."""
    lm, case = load(checkpoint(name)), golden(case_of(name))
    tokens, pauses = listen(lm, case["codes"][None])
    np.testing.assert_array_equal(tokens[0, : FRAMES - 1], case["text_tokens"][1:])
    heads = case["extra_heads"][..., 0].T[1:]
    np.testing.assert_allclose(pauses[0, : FRAMES - 1], heads, atol=1e-4, rtol=0)
    logits = forced_logits(lm, case["codes"][None], case["text_tokens"][None])
    np.testing.assert_allclose(logits[0], case["text_logits"], atol=1e-4, rtol=1e-4)


def test_the_mlx_layout_says_what_the_pytorch_layout_says(checkpoint, golden):
    case = golden("stt_tiny")
    tokens, _ = listen(load(checkpoint("stt-tiny-mlx")), case["codes"])
    np.testing.assert_array_equal(tokens, case["dbl_text_tokens"][:, 1:])


def test_rows_with_conditions_of_their_own(checkpoint, golden):
    lm, case = load(checkpoint("stt-tiny-cond")), golden("stt_tiny_cond")
    rows = [lm.condition_provider.sum({"language": x}) for x in ("en", "fr", None)]
    condition = mx.concatenate(rows)
    np.testing.assert_allclose(condition, case["cond_sum"], atol=1e-5)
    tokens, _ = listen(lm, case["codes"], condition)
    np.testing.assert_array_equal(tokens, case["dbl_text_tokens"][:, 1:])


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("name", [*PLAIN, "stt-tiny-delayed"])
def test_rows_rest_and_start_anew_out_of_step(checkpoint, golden, name, masked):
    """Masked or taken out. The reference takes a row's first active step, new or reset, for its
    priming."""
    lm, case = load(checkpoint(name)), golden(case_of(name))
    step, primed = SttStep(lm, NoCodec()), np.zeros(3, bool)
    rows = Rows(step.beginning())
    rows.grow(3)
    for t in range(FRAMES):
        if t == case["oos_reset_step"]:
            primed &= ~case["oos_reset_rows"]
        runs = case["oos_exec_mask"][t]
        starts = runs & ~primed
        for row in np.flatnonzero(starts):
            begun = step.beginning()
            assert begun["text"].item() == case["oos_text_tokens"][row, t]
            rows.put(int(row), begun)
        active = runs & primed
        going = range(3) if masked else np.flatnonzero(active).tolist()
        codes = mx.array(case["codes"][going, :, t])
        mask = mx.array(active) if masked else None
        if len(going):
            output, state = step(codes, rows.take(going), mask)
            mx.eval(output, state)
            rows.give_back(going, state)
            tokens = np.array(output.text)[active] if masked else np.array(output.text)
            np.testing.assert_array_equal(
                tokens, case["oos_text_tokens"][active, t], err_msg=f"step {t}"
            )
        primed |= runs


def test_from_pcm(checkpoint, golden):
    """Codec and language model in one step, one frame at a time."""
    found, case = Checkpoint.find(checkpoint("stt-tiny"), "stt"), golden("stt_tiny_e2e")
    lm, codec = found.load_lm(dtype="float32"), found.load_mimi(8, decoder=False)
    tokens, _ = listen(lm, case["pcm"][:, 0], codec=codec)
    np.testing.assert_array_equal(tokens, case["dbl_text_tokens"][:, 1:])
