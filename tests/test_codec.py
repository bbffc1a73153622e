"""The codec as its users meet it: shapes, streams, threads, bad input."""

import threading

import golden
import numpy as np
import pytest

import dsm_mlx
from dsm_mlx import AudioError, CheckpointError

FRAME = 1920
FOLDER = golden.CHECKPOINTS / "mimi-tiny"


@pytest.fixture(scope="module")
def codec():
    return dsm_mlx.load_codec(FOLDER)


def sound(batch, samples):
    rng = np.random.default_rng(1)
    return (0.2 * rng.standard_normal((batch, 1, samples))).astype(np.float32)


@pytest.mark.parametrize("codes", [[[1], [2, 3]], [object()], "codes", None, {"a": 1}])
def test_what_are_no_codes_is_refused(codec, codes):
    with pytest.raises(ValueError, match=r"codes are .*\(expected"):
        codec.decode(codes)


def test_properties(codec):
    assert (codec.sample_rate, codec.frame_rate, codec.frame_size) == (24_000, 12.5, FRAME)
    assert (codec.codebooks, codec.bins) == (8, 64)


def test_whole_and_streamed_are_equal(codec):
    """40 frames are four times the attention window of this codec."""
    pcm = sound(2, 40 * FRAME)
    codes = codec.encode(pcm)
    assert codes.shape == (2, 8, 40) and codes.dtype == np.int32
    encode, decode = codec.encoder(batch=2), codec.decoder(batch=2)
    pieces = np.split(pcm, [FRAME, 3 * FRAME, 10 * FRAME], axis=2)
    assert np.array_equal(np.concatenate([encode(piece) for piece in pieces], axis=2), codes)
    whole = codec.decode(codes)
    assert whole.shape == (2, 1, 40 * FRAME) and whole.dtype == np.float32
    parts = [decode(piece) for piece in np.split(codes, [1, 2, 30], axis=2)]
    assert np.allclose(np.concatenate(parts, axis=2), whole, atol=1e-5)


def test_a_last_partial_frame_is_filled_with_zeros(codec):
    pcm = sound(1, 2 * FRAME + 5)
    padded = np.pad(pcm, ((0, 0), (0, 0), (0, FRAME - 5)))
    assert np.array_equal(codec.encode(pcm), codec.encode(padded))


def test_nothing_in_nothing_out(codec):
    assert codec.encode(sound(1, 0)).shape == (1, 8, 0)
    assert codec.decode(np.zeros((1, 8, 0), np.int32)).shape == (1, 1, 0)


@pytest.mark.parametrize("streamed", [False, True])
def test_no_row_at_all_is_refused(codec, streamed):
    encode, decode = (
        (codec.encoder(), codec.decoder()) if streamed else (codec.encode, codec.decode)
    )
    with pytest.raises(ValueError, match=r"pcm is of shape \(0, 1, 1920\) \(expected \(1"):
        encode(sound(0, FRAME))
    with pytest.raises(
        ValueError, match=r"codes are int32 of shape \(0, 8, 1\) \(expected int32 \(1"
    ):
        decode(np.zeros((0, 8, 1), np.int32))


def test_fewer_codebooks(codec):
    four = dsm_mlx.load_codec(FOLDER, codebooks=4)
    pcm = sound(1, 5 * FRAME)
    codes = codec.encode(pcm)
    assert np.array_equal(four.encode(pcm), codes[:, :4])
    assert np.array_equal(four.decode(codes[:, :4]), codec.decode(codes[:, :4]))


def test_streams_of_one_codec_do_not_meet(codec):
    pcm = sound(2, 12 * FRAME)
    found = {}

    def work(row):
        encode = codec.encoder()
        frames = np.split(pcm[row : row + 1], 12, axis=2)
        found[row] = np.concatenate([encode(frame) for frame in frames], axis=2)

    threads = [threading.Thread(target=work, args=(row,)) for row in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert np.array_equal(np.concatenate([found[0], found[1]]), codec.encode(pcm))


@pytest.mark.parametrize(
    "pcm, error",
    [
        (np.zeros(FRAME, np.float32), ValueError),
        (np.zeros((1, 2, FRAME), np.float32), ValueError),
        (np.zeros((1, 1, FRAME), np.complex64), ValueError),
        (np.full((1, 1, FRAME), np.nan, np.float32), AudioError),
    ],
)
def test_bad_sound(codec, pcm, error):
    for call in (codec.encode, codec.encoder()):
        with pytest.raises(error, match="expected"):
            call(pcm)


@pytest.mark.parametrize(
    "codes",
    [
        np.zeros((8, 3), np.int32),
        np.zeros((1, 9, 3), np.int32),
        np.zeros((1, 8, 3), np.float32),
        np.full((1, 8, 3), 64, np.int32),
        np.full((1, 8, 3), -1, np.int32),
    ],
)
def test_bad_codes(codec, codes):
    for call in (codec.decode, codec.decoder()):
        with pytest.raises(ValueError, match="expected"):
            call(codes)


def test_streams_want_whole_frames_and_their_batch(codec):
    with pytest.raises(ValueError, match="whole frames of 1920"):
        codec.encoder()(sound(1, FRAME + 1))
    with pytest.raises(ValueError, match=r"\(2, 1, samples\)"):
        codec.encoder(batch=2)(sound(1, FRAME))


@pytest.mark.parametrize(
    "batch, error", [(0, ValueError), (2.0, TypeError), ("1", TypeError), (True, TypeError)]
)
def test_a_batch_that_cannot_be(codec, batch, error):
    for make in (codec.encoder, codec.decoder):
        with pytest.raises(error, match=f"batch is {batch!r} .expected"):
            make(batch)


@pytest.mark.parametrize("codebooks", [0, 9])
def test_a_number_of_codebooks_that_it_has_not(codebooks):
    with pytest.raises(ValueError, match="expected 1 to 8"):
        dsm_mlx.load_codec(FOLDER, codebooks=codebooks)


def test_a_folder_without_a_codec(tmp_path):
    with pytest.raises(CheckpointError, match=r"config\.json"):
        dsm_mlx.load_codec(tmp_path)


def test_the_codec_of_the_bundled_model():
    codec = dsm_mlx.load_codec("tiny")
    assert (codec.codebooks, codec.bins) == (8, 512)
    assert codec.decode(codec.encode(sound(1, 3 * FRAME))).shape == (1, 1, 3 * FRAME)
