"""Opt-in: a Mimi of the official size (385 MB) against the reference; run where dsm_mlx runs.

python tests/reference/make.py --out DIR mimi_full     # in the reference's environment
python tests/reference/check_full.py DIR
"""

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np

from dsm_mlx.codec.model import MimiModel
from dsm_mlx.loading.checkpoint import load_mimi

FRAME = 1920


def encode(model: MimiModel, pcm: mx.array, frames: int) -> np.ndarray:
    """Codes of pcm (1, samples), `frames` frames a step."""
    state, parts = model.encoder_state(1, frames), []
    for start in range(0, pcm.shape[1], frames * FRAME):
        codes, state = model.encode_step(pcm[:, start : start + frames * FRAME], state)
        parts.append(np.array(codes))
    return np.concatenate(parts, -1)


def decode(model: MimiModel, codes: mx.array, frames: int) -> np.ndarray:
    state, parts = model.decoder_state(1, frames), []
    for start in range(0, codes.shape[2], frames):
        pcm, state = model.decode_step(codes[..., start : start + frames], state)
        parts.append(np.array(pcm))
    return np.concatenate(parts, -1)


def gap(model: MimiModel, golden, ours: int, codebook: int, frame: int) -> float:
    """How much nearer one of two codes is, relatively, in float64 from the reference's latent.

    Below 1e-6 the two are equally near in float32, and rounding decides.
    """
    theirs = golden["codes"][0, :, frame]
    half, first = (model.quantizer.rvq_rest, 1) if codebook else (model.quantizer.rvq_first, 0)
    residual = np.array(half.input_proj.weight, np.float64) @ golden["latent"][0, :, frame]
    books = [np.array(book, np.float64) for book in half.codebooks[: codebook + 1 - first]]
    for book, code in zip(books, theirs[first:codebook], strict=False):
        residual -= book[code]
    near, far = (((residual - books[-1][c]) ** 2).sum() for c in (ours, theirs[codebook]))
    return abs(near - far) / far


def main(folder: Path) -> int:
    mx.set_default_device(mx.cpu)
    golden = np.load(folder / "golden/mimi_full.npz")
    weights = folder / "checkpoints/mimi-full/mimi.safetensors"
    model = load_mimi(weights, weights.with_name("mimi_config.json"))
    pcm = golden["pcm_in"][:, 0]
    pcm = mx.array(np.pad(pcm, ((0, 0), (0, -pcm.shape[1] % FRAME))))
    codes = mx.array(golden["codes"])
    whole = encode(model, pcm, codes.shape[2])
    streamed = encode(model, pcm, 1)
    # After a first difference in a frame its later codebooks quantise another residual.
    frames = np.flatnonzero((whole != golden["codes"]).any((0, 1)))
    wrong = []
    for frame in frames:
        codebook = int(np.argmax(whole[0, :, frame] != golden["codes"][0, :, frame]))
        wrong.append(float(gap(model, golden, whole[0, codebook, frame], codebook, frame)))
    changed = int((streamed != whole).sum())
    print(f"codes: {len(frames)} of {len(whole.T)} frames differ, by relative gaps of {wrong}")
    print(f"codes: {changed} of {whole.size} differ between streamed and whole-file")
    error = 0.0
    for name, step in [("whole-file", codes.shape[2]), ("streamed", 1)]:
        difference = float(np.abs(decode(model, codes, step) - golden["pcm"][:, 0]).max())
        error = max(error, difference)
        print(f"PCM, {name}: within {difference:.1e}")
    return 1 if max(wrong, default=0) > 1e-6 or changed or error > 1e-4 else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
