"""The one check of samples: what is sound between -1 and 1, and what is not."""

import subprocess
import sys

import mlx.core as mx
import numpy as np
import pytest
from sounds import encoded, heard, tone

from dsm_mlx.audio import Sound, check_pcm, check_rate, read, to_s16le
from dsm_mlx.audio.encodings import RawFormat
from dsm_mlx.audio.samples import MAX_PEAK, as_samples
from dsm_mlx.errors import AudioError

TONE = tone(0.1)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int16", "int32"])
def test_types_of_samples(dtype):
    full = 1 if dtype.startswith("float") else np.iinfo(dtype).max
    pcm = check_pcm((TONE * full).astype(dtype))
    assert pcm.dtype == np.float32
    np.testing.assert_allclose(pcm, TONE, atol=0.02 if dtype == "int8" else 1e-3)


def test_unsigned_samples_are_silent_in_the_middle():
    assert check_pcm(np.array([0, 128, 192], np.uint8)).tolist() == [-1, 0, 0.5]


@pytest.mark.parametrize("dtype", [mx.float32, mx.float16, mx.bfloat16])
def test_mlx_arrays(dtype):
    np.testing.assert_allclose(check_pcm(mx.array(TONE).astype(dtype)), TONE, atol=4e-3)


@pytest.mark.parametrize("dtype", ["torch.float32", "torch.bfloat16"])
def test_torch_tensors(dtype):
    """Without its gradient and from any device, which numpy alone refuses."""

    class Tensor:
        def __init__(self, done=()):
            self.done, self.dtype = set(done), dtype

        def detach(self):
            return Tensor(self.done | {"detach"})

        def cpu(self):
            return Tensor(self.done | {"cpu"})

        def float(self):
            return Tensor(self.done | {"float"})

        def __array__(self, dtype=None, copy=None):
            expected = {"detach", "cpu"} | ({"float"} if "bfloat16" in self.dtype else set())
            if self.done != expected:
                raise RuntimeError("Can't call numpy() on Tensor that requires grad.")
            return TONE

    np.testing.assert_array_equal(check_pcm(Tensor()), TONE)


def test_what_was_given_is_copied():
    given = TONE.copy()
    pcm = check_pcm(given)
    given[:] = 0
    np.testing.assert_array_equal(pcm, TONE)


def test_no_samples_are_fine_for_a_stream():
    assert check_pcm(np.zeros(0, np.float32)).size == 0


@pytest.mark.parametrize(
    "value, error, said",
    [
        (np.zeros((2, 3)), ValueError, "pcm has shape (2, 3) (expected (samples,), mono)"),
        (np.float32(1), ValueError, "pcm has shape ()"),
        (np.zeros(5, bool), ValueError, "pcm is an array of bool (expected floats between"),
        (np.zeros(5, np.int64), ValueError, "pcm is an array of int64"),
        (np.zeros(5, np.uint16), ValueError, "pcm is an array of uint16"),
        (np.zeros(5, complex), ValueError, "pcm is an array of complex128"),
        ("sound", ValueError, "pcm is an array of <U5"),
        (None, ValueError, "pcm is an array of object"),
        ([[1.0], [1.0, 2.0]], TypeError, "which cannot be read as an array"),
    ],
)
def test_what_is_no_array_of_samples(value, error, said):
    with pytest.raises(error) as raised:
        check_pcm(value)
    assert said in str(raised.value) and len(str(raised.value)) < 300
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_not_finite(bad):
    pcm = TONE.astype("f8")
    pcm[480] = bad
    with pytest.raises(AudioError) as raised:
        check_pcm(pcm, rate=24_000)
    assert str(raised.value) == "pcm: NaN or infinity at 0.020 s (expected values from -1 to 1)"


@pytest.mark.parametrize(
    "scale, cause",
    [
        (2**7, "these look like 8-bit integers as floats: divide them by 128"),
        (2**15, "these look like 16-bit integers as floats: divide them by 32768"),
        (2**23, "these look like 24-bit integers as floats: divide them by 8388608"),
        (2**31, "these look like 32-bit integers as floats: divide them by 2147483648"),
        (3e38, "they are damaged, or of another format"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_peaks_that_are_no_sound(scale, cause, sign):
    pcm = sign * TONE / 0.5
    pcm = (pcm * scale).astype("f4")
    at = int(np.argmax(np.abs(pcm)))
    with pytest.raises(AudioError) as raised:
        check_pcm(pcm)
    peak = f"{np.abs(pcm).max():.4g}"
    expected = f"samples reach {peak} at sample {at} (expected values from -1 to 1); {cause}"
    assert str(raised.value) == f"pcm: {expected}"


def test_ordinary_overs_pass_as_they_are():
    loud = TONE * 2 * MAX_PEAK
    np.testing.assert_array_equal(check_pcm(loud), loud)
    np.testing.assert_array_equal(read(loud, 24_000), loud)


def test_overs_are_clipped_where_the_target_cannot_hold_them():
    samples = np.frombuffer(to_s16le(np.array([-7.0, -1, 0, 1, 7])), "<i2")
    assert samples.tolist() == [-32768, -32768, 0, 32767, 32767]


def test_all_that_reads_checks(tmp_path):
    """A float WAV at the scale of integers, as a file, in memory, raw and as an array."""
    wrong = np.concatenate([0 * TONE, TONE * 32768]).astype("f4")
    data = encoded(wrong, subtype="FLOAT")
    (tmp_path / "a.wav").write_bytes(data)
    sources = [
        Sound(tmp_path / "a.wav", name="it"),
        Sound(data, name="it"),
        Sound(wrong.tobytes(), raw=RawFormat("f32le"), name="it"),
    ]
    for sound in sources:
        with pytest.raises(
            AudioError, match=r"^it: samples reach 1\.\d+e\+04 at 0\.10\d s .* 32768"
        ):
            heard(sound)
    for shaped in (wrong, wrong[:, None]):
        with pytest.raises(AudioError, match=r"^it: samples reach 1\.\d+e\+04 at 0\.10\d s"):
            Sound(shaped, 24_000, name="it")
    with pytest.raises(AudioError, match="the sound to write: samples reach"):
        to_s16le(wrong)


def test_samples_of_any_shape():
    """What the codec needs: (batch, channels, samples)."""
    assert as_samples(np.zeros((2, 1, 5), np.int16)).shape == (2, 1, 5)


@pytest.mark.parametrize("rate", [16_000, 16_000.0, np.int32(16_000), np.float64(16_000)])
def test_rates(rate):
    assert check_rate(rate) == 16_000 and isinstance(check_rate(rate), int)
    assert check_rate(22_050.5) == 22_050.5


@pytest.mark.parametrize(
    "rate, error",
    [
        (0, ValueError),
        (-16_000, ValueError),
        (10, ValueError),
        (10**9, ValueError),
        pytest.param(10**5000, ValueError, id="long"),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ("16000", TypeError),
        (True, TypeError),
        (1j, TypeError),
        ([16_000], TypeError),
    ],
)
def test_bad_rates(rate, error):
    with pytest.raises(error, match=r"^sample_rate is .{1,80} \(expected ") as raised:
        check_rate(rate)
    assert len(str(raised.value)) < 200
    with pytest.raises(error, match=r"^sample_rate is "):
        read(TONE, rate)
    with pytest.raises(error, match=r"^target is "):
        read(TONE, 16_000, rate)


def test_the_check_needs_numpy_alone():
    """The codec imports it, too."""
    code = (
        "import sys, dsm_mlx.audio.samples as s; "
        "print({'mlx', 'soxr', 'soundfile', 'sounddevice', 'av'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()"
