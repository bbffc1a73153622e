"""What counts as samples: the one check that all sound passes, wherever it comes from. numpy only.

Sound is float32 between -1 and 1. Ordinary overs, up to `MAX_PEAK` times full scale, pass as they
are: a model hears twice full scale as well as before, and clipping would only add distortion. They
are clipped where the target cannot hold them: in 16-bit files and on devices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dsm_mlx.checks import is_number
from dsm_mlx.errors import AudioError
from dsm_mlx.messages import reason, shown

MAX_PEAK = 8.0  # times full scale; what is beyond it is no sound between -1 and 1
MAX_CHANNELS = 64
RATES = (1_000, 768_000)  # Hz; beyond these a number is a mistake rather than unusual
INTEGERS = (np.int8, np.int16, np.int32, np.uint8)
# full scale of integers that somebody may have turned into floats without dividing
_FULL_SCALES = ((1 << 7, "8-bit"), (1 << 15, "16-bit"), (1 << 23, "24-bit"), (1 << 31, "32-bit"))


def check_pcm(pcm: Any, name: str = "pcm", rate: float | None = None) -> np.ndarray:
    """Mono samples as float32 (samples,), a copy, so that the caller may reuse its buffer.

    pcm: what `as_samples` takes, of one dimension; no samples at all are right, too.
    Raises ValueError for another shape or type, TypeError for what is no array, and AudioError for
    what `check_range` refuses; with `rate`, in Hz, that tells the time of the bad sample.
    """
    samples = as_samples(pcm, name)
    if samples.ndim != 1:
        raise ValueError(f"{name} has shape {samples.shape} (expected (samples,), mono)")
    check_range(samples, name, rate)
    return np.array(samples)


def as_samples(value: Any, name: str = "pcm") -> np.ndarray:
    """The numbers of `value` as float32 of the same shape; nothing is copied without need.

    value: numpy, MLX or torch arrays (on any device) and whatever else numpy can take. Floats of
        any width are meant to lie between -1 and 1; int8, int16 and int32 are divided by their full
        scale; uint8 is 8-bit WAV, whose silence is 128.
    Raises TypeError for what is no array, and ValueError for other kinds of numbers.
    """
    array = _as_array(value, name)
    if array.dtype.kind == "f" or array.dtype.name == "bfloat16":
        with np.errstate(over="ignore"):  # too large for float32: infinite, which is told later
            return array.astype(np.float32, copy=False)
    if array.dtype in INTEGERS:
        return from_integers(array)
    raise ValueError(
        f"{name} is an array of {array.dtype} "
        "(expected floats between -1 and 1, or int8, int16, int32 or uint8)"
    )


def from_integers(samples: np.ndarray) -> np.ndarray:
    """Integers of any width to float32 between -1 and 1; of uint8 the middle is 128."""
    scale = np.float32(2 ** (8 * samples.dtype.itemsize - 1))
    floats = samples.astype(np.float32)
    if samples.dtype.kind == "u":
        floats -= scale
    floats /= scale
    return floats


def check_range(
    samples: np.ndarray,
    name: str = "pcm",
    rate: float | None = None,
    start: int = 0,
    axis: int = 0,
) -> None:
    """Raise AudioError for float32 samples (of any shape) that cannot be sound between -1 and 1.

    That is NaN or infinity, or a peak above `MAX_PEAK`. For the message: the `rate` in Hz, how many
    samples came before these (`start`), and which axis is time.
    """
    if not samples.size:
        return
    peak = max(samples.max(), -samples.min())
    if peak <= MAX_PEAK:  # which is false for NaN, too
        return
    finite = np.isfinite(samples)
    bad = ~finite if not finite.all() else np.abs(samples) == peak
    at = start + int(np.unravel_index(bad.argmax(), bad.shape)[axis])
    when = f"at sample {at}" if rate is None else f"at {at / rate:.3f} s"
    if not finite.all():
        raise AudioError(f"{name}: NaN or infinity {when} (expected values from -1 to 1)")
    raise AudioError(
        f"{name}: samples reach {peak:.4g} {when} (expected values from -1 to 1); {_cause(peak)}"
    )


def check_rate(value: Any, name: str = "sample_rate") -> int | float:
    """A sample rate that a caller gave, in Hz; TypeError or ValueError that names the argument."""
    if not is_number(value):
        raise TypeError(f"{name} is {shown(value)} (expected a number, in Hz)")
    if not RATES[0] <= value <= RATES[1]:  # which is true for NaN, too
        raise ValueError(f"{name} is {shown(value)} (expected {RATES[0]} to {RATES[1]} Hz)")
    return int(value) if value == int(value) else float(value)


def _cause(peak: float) -> str:
    for scale, width in _FULL_SCALES:
        if peak <= 1.01 * scale:
            return f"these look like {width} integers as floats: divide them by {scale}"
    return "they are damaged, or of another format"


def _as_array(value: Any, name: str) -> np.ndarray:
    try:
        if hasattr(value, "detach"):  # torch: without its gradient, and from any device
            value = value.detach().cpu()
        if str(getattr(value, "dtype", "")).endswith("core.bfloat16"):  # numpy has no such type
            import mlx.core as mx

            value = value.astype(mx.float32)
        elif str(getattr(value, "dtype", "")) == "torch.bfloat16":
            value = value.float()
        return np.asarray(value)
    except Exception as error:
        raise TypeError(
            f"{name} is {shown(value)}, which cannot be read as an array ({reason(error)})"
        ) from None
