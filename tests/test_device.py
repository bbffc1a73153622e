"""What depends on the device: compiled steps, the form of weights and caches, memory."""

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten

import dsm_mlx
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.stt.step import SttStep
from dsm_mlx.transformer import Transformer, TransformerConfig

FRAMES = 30


@pytest.fixture
def compiling(monkeypatch):
    """`compiling()`: from now on steps are compiled as on a GPU. g++ makes the first run slow."""
    monkeypatch.setenv("DSM_MLX_COMPILE", "0")
    return lambda: monkeypatch.setenv("DSM_MLX_COMPILE", "1")


def hear(lm, mimi, pcm) -> list[int]:
    """pcm (1, samples) -> the token of each of the first frames."""
    step = SttStep(lm, mimi)
    state, tokens = step.beginning(), []
    for frame in np.split(pcm, pcm.shape[1] // 1920, axis=1)[:FRAMES]:
        output, state = step(mx.array(frame), state)
        mx.eval(state)
        tokens.append(output.text.item())
    return tokens


@pytest.mark.thorough
def test_compiled_steps_hear_the_same(checkpoint, golden, compiling):
    found, case = Checkpoint.find(checkpoint("stt-tiny"), "stt"), golden("stt_tiny_e2e")
    lm, mimi = found.load_lm(dtype="float32"), found.load_mimi(8, decoder=False)
    expected = case["dbl_text_tokens"][0, 1 : 1 + FRAMES].tolist()
    assert hear(lm, mimi, case["pcm"][0]) == expected
    compiling()
    assert hear(lm, mimi, case["pcm"][0]) == expected


@pytest.mark.thorough
def test_compiled_steps_say_the_same(checkpoint, compiling):
    def say():
        tts = dsm_mlx.load_tts(checkpoint("tts-tiny"), dtype="float32")
        return tts.synthesize("one two", temperature=0)

    plain = say()
    compiling()
    compiled = say()
    assert compiled.words == plain.words
    np.testing.assert_allclose(compiled.audio, plain.audio, atol=1e-4)


@pytest.mark.parametrize(
    ("cache", "tolerance", "smaller"),
    [({"dtype": mx.bfloat16}, 0.01, 2), ({"dtype": mx.float16}, 0.001, 2), ({"bits": 8}, 0.01, 3)],
)
def test_small_caches_stay_close(cache, tolerance, smaller):
    """Root mean square error in units of the spread, over three times the window of 8 steps."""
    mx.random.seed(0)
    shape = TransformerConfig(dim=64, heads=2, layers=2, hidden=96, context=8)
    transformer, inputs = Transformer(shape), mx.random.normal((24, 3, 1, 64))

    def run(**cache):
        state, outputs = transformer.init_state(3, **cache), []
        for x in inputs:
            y, state = transformer(x, state)
            mx.eval(y, state)
            outputs.append(y)
        return mx.stack(outputs), sum(a.nbytes for _, a in tree_flatten(state["rings"]))

    (exact, size), (close, small) = run(), run(**cache)
    error = mx.sqrt(mx.mean((close - exact) ** 2)) / mx.std(exact)
    assert 0 < error < tolerance
    assert small * smaller <= size


def test_a_cache_is_small_where_the_weights_are(checkpoint):
    found = Checkpoint.find(checkpoint("stt-q64-mlx-q4"), "stt")
    assert found.load_lm().cache == "bfloat16"
    assert found.load_lm(dtype="float32").cache is None
    assert found.load_lm(cache="q8").cache == "q8"
    assert Checkpoint.find(checkpoint("stt-q64"), "stt").load_lm().cache is None
    with pytest.raises(ValueError, match="cache is 'q2'"):
        found.load_lm(cache="q2")
    lm = Checkpoint.find(checkpoint("stt-tiny"), "stt").load_lm(cache="q8")
    with pytest.raises(ValueError, match="8 bits for heads of width"):
        lm.init_state(1)


def test_weights_lie_as_they_are_read(checkpoint):
    """On the CPU float32 matrices are stored with the inputs first; tables keep the file's type."""
    lm = Checkpoint.find(checkpoint("stt-tiny-mlx"), "stt").load_lm(dtype="float32")
    matrix = lm.text_linear.weight
    assert matrix.dtype == mx.float32
    assert memoryview(matrix).strides == (4, 4 * matrix.shape[0])
    assert lm.audio_emb.weight.dtype == mx.bfloat16
    lm = Checkpoint.find(checkpoint("stt-tiny-mlx"), "stt").load_lm(dtype="float16")
    matrix = lm.text_linear.weight
    assert memoryview(matrix).strides == (2 * matrix.shape[1], 2)
    quantized = Checkpoint.find(checkpoint("stt-q64-mlx-q4"), "stt").load_lm(dtype="float32")
    assert quantized.text_linear.scales.dtype == mx.bfloat16


def test_memory_can_be_bounded():
    before = mx.set_cache_limit(1 << 20)
    if mx.set_cache_limit(1 << 20) != 1 << 20:
        pytest.skip("this version of MLX keeps no limit on a CPU")
    try:
        dsm_mlx.limit_memory(cache=2 << 20)
        assert mx.set_cache_limit(1 << 20) == 2 << 20
    finally:
        mx.set_cache_limit(before)
