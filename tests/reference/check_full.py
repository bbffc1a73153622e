"""Opt-in: a Mimi of the official size (385 MB) against the reference; run where dsm_mlx runs.

python tests/reference/make.py --out DIR mimi_full     # in the reference's environment
python tests/reference/check_full.py DIR
"""

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np

from dsm_mlx.checkpoint import load_mimi
from dsm_mlx.codec.model import MimiModel

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
    wrong = int((whole != golden["codes"]).sum())
    print(f"codes: {wrong} of {whole.size} differ; streamed: {int((streamed != whole).sum())} do")
    error = 0.0
    for name, frames in [("whole-file", codes.shape[2]), ("streamed", 1)]:
        difference = float(np.abs(decode(model, codes, frames) - golden["pcm"][:, 0]).max())
        error = max(error, difference)
        print(f"PCM, {name}: within {difference:.1e}")
    return 1 if wrong or (streamed != whole).any() or error > 1e-4 else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
