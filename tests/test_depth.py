"""The depth decoder, the conditions and the text logits against the reference, step by step."""

import json

import golden as fixtures
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from mlx.utils import tree_flatten
from test_tts_golden import CASES

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import weight_map
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.lm.depth import guide
from dsm_mlx.lm.embedding import LowRankEmbedding, added
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.quantization import quantize
from dsm_mlx.loading.voices import join_speakers, read_embedding
from dsm_mlx.runtime.worker import complete


def load(folder, dtype="float32", **options):
    return Checkpoint.find(folder, "tts").load_lm(dtype=dtype, **options)


def conditions_of(lm, meta, folder):
    """cond_sum (rows, 1, dim) and cond_cross (rows, length, dim) of a case, None without."""
    if not lm.config.conditioners.by_name:
        return None, None
    provider = lm.condition_provider
    width = lm.config.conditioners.by_name["speaker_wavs"].dim
    cfg = meta["cond_cfg"]
    values = {"control": "ok", "cfg": None if cfg is None else f"{cfg:.1f}"}
    sums, crosses = [], []
    for names in meta["voices"]:
        voices = [read_embedding(folder / name, width, {}) for name in names]
        embeddings, mask = join_speakers(voices, 5)
        sums.append(provider.sum(values))
        crosses.append(provider.cross({"speaker_wavs": (embeddings, mask)}))
    if meta["cfg_coef"] != 1:
        nothing = mx.zeros_like(mask)
        sums += [provider.sum({})] * len(sums)
        crosses += [provider.cross({"speaker_wavs": (embeddings, nothing)})] * len(crosses)
    return mx.concatenate(sums), mx.concatenate(crosses)


def forced_hidden(lm, meta, folder, inputs):
    """What the main model gives at every step when these tokens enter it: (rows, steps, dim)."""
    condition, cross = conditions_of(lm, meta, folder)
    if cross is not None:
        cross = [(range(len(cross)), list(lm.keys_values(cross)))]
    state = lm.transformer.init_state(len(inputs), dtype=lm.dtype)
    outputs = []
    for tokens in np.moveaxis(inputs, -1, 0):
        tokens = mx.array(tokens)
        hidden, state = lm(tokens[:, 0], tokens[:, 1:], state, condition=condition, cross=cross)
        mx.eval(hidden, state)
        outputs.append(hidden)
    return mx.stack(outputs, axis=1)


def forced_depth(lm, meta, hidden, step, expected):
    """Logits (codebooks, rows, card) of one step, when the codes are those of the reference."""
    depth, guidance = lm.depformer, None
    if meta["cfg_coef"] != 1:
        guidance = mx.full((len(meta["scripts"]),), meta["cfg_coef"])
        hidden = mx.array(np.array(hidden)[in_pairs(len(hidden))])
        expected = expected[:, in_pairs(len(hidden))]
    token = mx.array([row[step][1] for row in meta["logged_text_tokens"]])
    inputs, logits = depth.linear_in(hidden), []
    past = depth.no_past(inputs)
    for k in range(lm.config.dep_q):
        found, past = depth.slice(k, token, inputs, past)
        logits.append(found.astype(mx.float32))
        token = mx.argmax(guide(mx.array(expected[k]), guidance), axis=-1)
    logits = np.array(mx.stack(logits))
    return logits if guidance is None else logits[:, np.argsort(in_pairs(len(hidden)))]


def forced_logits(lm, meta, folder, arrays):
    """Text logits (rows, steps, card) of every step, and those of the codes of the steps
    `dep_steps`, (steps, codebooks, rows, card)."""
    hidden = forced_hidden(lm, meta, folder, arrays["lm_inputs"])
    depth = [
        forced_depth(lm, meta, hidden[:, int(step)], int(step), expected)
        for step, expected in zip(arrays["dep_steps"], arrays["dep_logits"], strict=True)
    ]
    return np.array(lm.text_logits(hidden)), np.stack(depth)


def in_pairs(rows: int) -> np.ndarray:
    """The reference has all rows with the conditions and then all without; we have pairs."""
    return np.arange(rows).reshape(2, -1).T.reshape(-1)


@pytest.mark.parametrize("case", CASES)
def test_logits_equal_the_reference(case, checkpoint, golden):
    meta, arrays = fixtures.meta(case), golden(case)
    folder = checkpoint(meta["checkpoint"])
    lm = load(folder, codebooks=meta["n_q"])
    condition, cross = conditions_of(lm, meta, folder)
    if condition is not None:
        np.testing.assert_allclose(condition, arrays["cond_sum"], atol=1e-5)
        np.testing.assert_allclose(cross, arrays["cond_cross"], atol=1e-5)
    text, depth = forced_logits(lm, meta, folder, arrays)
    np.testing.assert_allclose(text, arrays["text_logits"], atol=3e-4)
    np.testing.assert_allclose(depth, arrays["dep_logits"], atol=1e-4)


def test_bfloat16_is_near_the_reference(checkpoint, golden):
    """Logits reach 17, where neighbours in bfloat16 are 0.125 apart; a step rounds many times."""
    meta, arrays = fixtures.meta("tts_bf16"), golden("tts_bf16")
    folder = checkpoint(meta["checkpoint"])
    lm = load(folder, dtype="bfloat16")
    text, depth = forced_logits(lm, meta, folder, arrays)
    errors = [np.abs(text - arrays["text_logits"]), *np.abs(depth - arrays["dep_logits"])]
    assert max(error.max() for error in errors) < 0.5
    assert max(error.mean() for error in errors) < 0.1


def test_a_weight_set_is_stored_once(checkpoint):
    lm = load(checkpoint("tts-tiny"))
    assert lm.config.depth.schedule == (0, 1, 2, 3, 4, 4, 5, 5)
    for layer in lm.depformer.layers:
        assert len(layer.self_attn.in_proj) == len(layer.self_attn.out_proj) == 6
        assert len(layer.gating) == 6
    assert lm.depformer.linear_in.weight.shape == (6 * 32, 64)


def test_fewer_codebooks_drop_their_weights(checkpoint):
    lm = load(checkpoint("tts-tiny"), codebooks=5)
    depth = lm.depformer
    assert (len(depth.embs), len(depth.linear_out)) == (4, 5)
    assert len(depth.layers[0].gating) == 5
    assert depth.linear_in.weight.shape == (5 * 32, 64)


@pytest.mark.parametrize("codebooks", [0, 9])
def test_a_number_of_codebooks_that_is_not_there(checkpoint, codebooks):
    with pytest.raises(ValueError, match="expected 1 "):
        load(checkpoint("tts-tiny"), codebooks=codebooks)


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_depth_stays_near(checkpoint, golden, bits):
    """All projections are quantised, cross-attention included; the tables are too narrow."""
    meta, arrays = fixtures.meta("tts_1spk"), golden("tts_1spk")
    folder = checkpoint(meta["checkpoint"])
    lm = Checkpoint.find(folder, "tts").load_lm(bits=bits)
    assert isinstance(lm.transformer.layers[0].cross_attention.kv_proj, nn.QuantizedLinear)
    assert isinstance(lm.depformer.linear_in, nn.QuantizedLinear)
    hidden = forced_hidden(lm, meta, folder, arrays["lm_inputs"])
    found, expected = np.array(lm.text_logits(hidden)), arrays["text_logits"]
    correlation = np.corrcoef(found.ravel(), expected.ravel())[0, 1]
    assert correlation > {4: 0.9, 8: 0.999}[bits]


@pytest.mark.parametrize("layout", ["pytorch", "mlx"])
def test_files_are_read_as_they_are_written(checkpoint, layout):
    lm = load(checkpoint("tts-tiny"))
    groups = lm_layout.layout_of(lm, layout)
    parameters = dict(tree_flatten(lm.parameters()))
    again = weight_map.load(groups, weight_map.save(groups, parameters))
    assert again.keys() == parameters.keys()
    assert all(mx.array_equal(again[name], array) for name, array in parameters.items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depformer_weights_per_step_schedule": [0, 1]}, "depformer_weights_per_step_schedule"),
        ({"depformer_weights_per_step": False}, "depformer_weights_per_step"),
        ({"depformer_pos_emb": "sin"}, "depformer_pos_emb"),
        ({"depformer_dim": "wide"}, "depformer_dim"),
        ({"dep_q": 9}, "dep_q"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(checkpoint, change, message):
    raw = json.loads((checkpoint("tts-tiny") / "config.json").read_text()) | change
    with pytest.raises(CheckpointError, match=message):
        LmConfig.read(ConfigReader(raw, "config.json"))


def test_token_of_nothing_embeds_to_zero(checkpoint):
    table = load(checkpoint("tts-tiny")).depformer.text_emb
    assert not mx.any(table(mx.array([-1])))
    assert mx.any(table(mx.array([0])))


@pytest.mark.parametrize("bits", [None, 4])
def test_unpacked_embeddings_are_the_same(checkpoint, bits, monkeypatch):
    """Narrow tables and their projections, for all tokens and for the one that embeds to zero."""
    monkeypatch.setenv("DSM_MLX_COMPILE", "1")
    found = Checkpoint.find(checkpoint("tts-tiny"), "tts").outline_lm()
    found.read_into_model()
    if bits:
        quantize(found.model, bits)
    complete(found.materialise(mx.float32))
    depth, rows = found.model.depformer, found.model.config.text_card + 1
    assert isinstance(depth.embs[0], LowRankEmbedding)
    codes, text = mx.arange(depth.card + 1), mx.array([-1, 0, 3, rows - 1, 7 * rows + 3])
    x = mx.random.normal((1, depth.config.dim), key=mx.random.key(0))

    def sums():
        of_codes = added(mx.repeat(x, len(codes), 0), depth.embs[0], codes)
        return np.array(of_codes), np.array(added(mx.repeat(x, len(text), 0), depth.text_emb, text))

    before = sums()
    complete(found.model.prepare())
    for packed, plain in zip(before, sums(), strict=True):
        np.testing.assert_allclose(plain, packed, atol=1e-6)
    assert np.array_equal(sums()[1][0], np.array(x)[0])  # token -1
    assert isinstance(depth.embs[0].low_rank, nn.Linear)
