"""Mimi against the PyTorch reference on random weights; tests/reference/README.md has the keys.

The window is 20 positions, 10 frames, and the goldens have 49 frames: the ring wraps five times.
"""

import dataclasses

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest

import dsm_mlx
from dsm_mlx.loading.checkpoint import load_mimi

FRAME = 1920
WINDOW = 10  # frames
MIMI = fixtures.CHECKPOINTS / "mimi-tiny"
CODEBOOKS = {8: "", 4: "q4_"}  # the prefix of the golden's keys


def random_split(total: int, seed: int) -> list[int]:
    sizes, rng = [], np.random.default_rng(seed)
    while sum(sizes) < total:
        sizes.append(min(int(rng.integers(1, 13)), total - sum(sizes)))
    return sizes


SPLITS = {
    "whole": [49],
    "frames": [1] * 49,
    "random-1": random_split(49, 1),
    "random-2": random_split(49, 2),
}


@pytest.fixture(scope="module")
def mimi():
    models = {q: load_mimi(MIMI / "mimi.safetensors", MIMI / "mimi_config.json", q) for q in (8, 4)}
    return models.__getitem__


@pytest.fixture(scope="module")
def case(golden):
    return golden("mimi_tiny")


def whole_frames(pcm: np.ndarray) -> mx.array:
    """(batch, 1, samples) -> (batch, samples), the last frame filled up with zeros."""
    return mx.array(np.pad(pcm[:, 0], ((0, 0), (0, -pcm.shape[-1] % FRAME))))


def encode(model, pcm: mx.array, sizes: list[int]) -> np.ndarray:
    """Codes of `pcm` (batch, samples), fed as pieces of `sizes` frames."""
    state = model.encoder_state(len(pcm), frames=max(sizes))
    parts = []
    for piece in mx.split(pcm, (np.cumsum(sizes)[:-1] * FRAME).tolist(), axis=1):
        codes, state = model.encode_step(piece, state)
        mx.eval(codes, state)
        parts.append(np.array(codes))
    return np.concatenate(parts, -1)


def decode(model, codes: mx.array, sizes: list[int]) -> np.ndarray:
    state = model.decoder_state(len(codes), frames=max(sizes))
    parts = []
    for piece in mx.split(codes, np.cumsum(sizes)[:-1].tolist(), axis=2):
        pcm, state = model.decode_step(piece, state)
        mx.eval(pcm, state)
        parts.append(np.array(pcm))
    return np.concatenate(parts, -1)


@pytest.mark.parametrize("codebooks", CODEBOOKS)
@pytest.mark.parametrize("split", SPLITS)
def test_codes_are_exact_for_any_split(mimi, case, codebooks, split):
    codes = encode(mimi(codebooks), whole_frames(case["pcm_in"]), SPLITS[split])
    np.testing.assert_array_equal(codes, case[CODEBOOKS[codebooks] + "codes"])


@pytest.mark.parametrize("codebooks", CODEBOOKS)
@pytest.mark.parametrize("split", SPLITS)
def test_pcm_is_within_1e_4_for_any_split(mimi, case, codebooks, split):
    prefix = CODEBOOKS[codebooks]
    pcm = decode(mimi(codebooks), mx.array(case[prefix + "codes"]), SPLITS[split])
    np.testing.assert_allclose(pcm, case[prefix + "pcm"][:, 0], atol=1e-4, rtol=0)


def test_a_model_of_eight_codebooks_decodes_four(mimi, case):
    pcm = decode(mimi(8), mx.array(case["q4_codes"]), [49])
    np.testing.assert_allclose(pcm, case["q4_pcm"][:, 0], atol=1e-4, rtol=0)


def test_every_stage_of_the_encoder(mimi, case):
    model = mimi(8)
    state = model.encoder_state(1, frames=49)
    x, _ = model.encoder(whole_frames(case["pcm_in"][:1])[..., None], state["seanet"])
    np.testing.assert_allclose(x[0].T, case["enc_seanet"][0], atol=1e-4)
    x, _ = model.encoder_transformer(x, state["transformer"])
    np.testing.assert_allclose(x[0].T, case["enc_transformer"][0], atol=1e-4)
    past = mx.broadcast_to(x[:, :1], state["downsample"].shape)  # its first frame, repeated
    latent, _ = model.downsample(x, past)
    np.testing.assert_allclose(latent[0].T, case["latent"][0], atol=1e-4)


def test_every_stage_of_the_decoder(mimi, case):
    model = mimi(8)
    state = model.decoder_state(1, frames=49)
    x = model.quantizer.decode(mx.array(case["codes"][:1]))
    # Latents of random weights are up to 30 large: 1e-4 of that, not of 1.
    close = dict(atol=1e-4, rtol=1e-4)
    np.testing.assert_allclose(x[0].T, case["quant_latent"][0], **close)
    x, _ = model.upsample(x, state["upsample"])
    np.testing.assert_allclose(x[0].T, case["upsampled"][0], **close)
    x, _ = model.decoder_transformer(x, state["transformer"])
    np.testing.assert_allclose(x[0].T, case["dec_transformer"][0], **close)


def test_the_reference_streams_otherwise_only_past_the_window(case):
    """Its streaming sees a key too few there; we hold to its whole-file result instead."""
    streamed, whole = case["stream_codes"], case["codes"][..., :48]
    np.testing.assert_array_equal(streamed[..., :WINDOW], whole[..., :WINDOW])
    assert (streamed[..., WINDOW:] != whole[..., WINDOW:]).any()
    difference = np.abs(case["stream_pcm"] - case["pcm"])
    assert difference[..., : WINDOW * FRAME].max() < 1e-5
    assert difference[..., WINDOW * FRAME :].max() > 1e-3


def test_a_row_gives_alone_what_it_gives_in_a_batch(mimi, case):
    pcm = whole_frames(case["pcm_in"])
    for row in range(2):
        codes = encode(mimi(8), pcm[row : row + 1], [1] * 49)
        np.testing.assert_array_equal(codes[0], case["codes"][row])


def test_rows_that_rest_lose_nothing(mimi, case):
    """Each row takes its next frame only in the steps in which it is active."""
    model = mimi(8)
    pcm = np.array(whole_frames(case["pcm_in"])).reshape(2, 49, FRAME)
    rng = np.random.default_rng(3)
    taken = np.zeros(2, int)
    encoder, decoder = model.encoder_state(2), model.decoder_state(2)
    heard = [[], []]
    while taken.min() < 49:
        active = (rng.random(2) < 0.6) & (taken < 49)
        # What a resting row is given must not matter.
        frame = np.where(active[:, None], pcm[[0, 1], np.minimum(taken, 48)], 0.5)
        codes, encoder = model.encode_step(mx.array(frame), encoder, mx.array(active))
        sound, decoder = model.decode_step(codes, decoder, mx.array(active))
        mx.eval(encoder, decoder)
        for row in np.flatnonzero(active):
            step = taken[row]
            np.testing.assert_array_equal(np.array(codes)[row, :, 0], case["codes"][row, :, step])
            heard[row].append(np.array(sound)[row])
        taken += active
    np.testing.assert_allclose(
        np.stack([np.concatenate(row) for row in heard]), case["pcm"][:, 0], atol=1e-4, rtol=0
    )


@pytest.mark.thorough
def test_streamed_equals_whole_past_the_official_window():
    """The same weights with the official window of 250 positions, over 350."""
    model = load_mimi(MIMI / "mimi.safetensors", MIMI / "mimi_config.json")
    config = dataclasses.replace(model.config.transformer, context=250)
    model.encoder_transformer.config = model.decoder_transformer.config = config
    frames = 175
    t = np.arange(frames * FRAME, dtype=np.float32) / 24000
    pcm = mx.array((0.4 * np.sin(2 * np.pi * (200 + 300 * np.sin(t)) * t))[None], mx.float32)
    codes = encode(model, pcm, [frames])
    np.testing.assert_array_equal(encode(model, pcm, [1] * frames), codes)
    whole = decode(model, mx.array(codes), [frames])
    streamed = decode(model, mx.array(codes), [1] * frames)
    np.testing.assert_allclose(streamed, whole, atol=1e-4, rtol=0)


# ---- the public face ---------------------------------------------------------------------------


@pytest.mark.thorough
@pytest.mark.parametrize("codebooks", CODEBOOKS)
def test_load_codec(case, codebooks):
    codec = dsm_mlx.load_codec(MIMI, codebooks=codebooks)
    codes, pcm = (case[CODEBOOKS[codebooks] + key] for key in ("codes", "pcm"))
    np.testing.assert_array_equal(codec.encode(case["pcm_in"]), codes)
    np.testing.assert_allclose(codec.decode(codes), pcm, atol=1e-4, rtol=0)
    encoder, decoder = codec.encoder(batch=2), codec.decoder(batch=2)
    for frame in range(48):
        span = slice(frame * FRAME, (frame + 1) * FRAME)
        heard = encoder(case["pcm_in"][..., span])
        np.testing.assert_array_equal(heard, codes[..., frame : frame + 1])
        np.testing.assert_allclose(decoder(heard), pcm[..., span], atol=1e-4, rtol=0)
