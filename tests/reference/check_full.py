"""Opt-in: models of the official sizes against the reference; run where the tests run.

python tests/reference/make.py --out DIR full          # in the reference's environment
python tests/reference/check_full.py DIR [CASE...]     # every case in DIR, or those that begin so
"""

import sys
from pathlib import Path

import mlx.core as mx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import golden as fixtures
import speaking
from hearing import forced_logits as forced_text_logits
from hearing import listen
from test_depth import conditions_of, forced_hidden, forced_logits

from dsm_mlx.codec.model import MimiModel
from dsm_mlx.lm.depth import guide
from dsm_mlx.loading.checkpoint import Checkpoint, load_mimi

FRAME = 1920
TIE = 1e-6  # see `gap`
# Absolute, in float32. Sums are as long as the model is wide, and the order of their terms differs.
# What is attended to has sines of up to 625 radians, which float32 knows within 6e-5.
PCM, PAUSES, TEXT, DEPTH, SUMMED, ATTENDED = 1e-4, 1e-4, 3e-4, 1e-3, 1e-5, 1e-4


def near(what: str, ours: np.ndarray | mx.array, theirs: np.ndarray, tolerance: float) -> bool:
    ours = np.array(ours)
    assert ours.shape == theirs.shape, what
    difference = float(np.abs(ours - theirs).max())
    print(f"  {what}: within {difference:.1e} of values up to {np.abs(theirs).max():.1f}")
    return difference <= tolerance


def equal(what: str, ours: list, theirs: list) -> bool:
    wrong = [i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b]
    same = not wrong and len(ours) == len(theirs)
    found = "all equal" if same else f"{len(ours)} here, the first that differ: {wrong[:3]}"
    print(f"  {what}: {len(theirs)}, {found}")
    return same


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
    books = [np.array(book.weight, np.float64) for book in half.codebooks[: codebook + 1 - first]]
    for book, code in zip(books, theirs[first:codebook], strict=False):
        residual -= book[code]
    near, far = (((residual - books[-1][c]) ** 2).sum() for c in (ours, theirs[codebook]))
    return abs(near - far) / far


def check_codes(model: MimiModel, golden, pcm: np.ndarray) -> tuple[bool, int]:
    """Whether the codes of pcm (1, samples) are right, and the first frame that has a tie."""
    pcm = mx.array(np.pad(pcm, ((0, 0), (0, -pcm.shape[1] % FRAME))))
    whole = encode(model, pcm, golden["codes"].shape[2])
    streamed = encode(model, pcm, 1)
    # After a first difference in a frame its later codebooks quantise another residual.
    frames = np.flatnonzero((whole != golden["codes"]).any((0, 1)))
    wrong = []
    for frame in frames:
        codebook = int(np.argmax(whole[0, :, frame] != golden["codes"][0, :, frame]))
        wrong.append(float(gap(model, golden, whole[0, codebook, frame], codebook, frame)))
    changed = int((streamed != whole).sum())
    print(f"  codes: {len(frames)} of {len(whole.T)} frames differ, by relative gaps of {wrong}")
    print(f"  codes: {changed} of {whole.size} differ between streamed and whole-file")
    return max(wrong, default=0) <= TIE and not changed, min([*frames, len(whole.T)])


def check_mimi(folder: Path, case: str) -> bool:
    golden = fixtures.arrays(case, folder)
    weights = folder / "checkpoints/mimi-full/mimi.safetensors"
    model = load_mimi(weights, weights.with_name("mimi_config.json"))
    right, _ = check_codes(model, golden, golden["pcm_in"][:, 0])
    codes = mx.array(golden["codes"])
    for name, step in [("whole-file", codes.shape[2]), ("streamed", 1)]:
        right &= near(f"PCM, {name}", decode(model, codes, step), golden["pcm"][:, 0], PCM)
    return right


def check_stt(folder: Path, case: str) -> bool:
    golden = fixtures.arrays(case, folder)
    found = Checkpoint.find(folder / "checkpoints" / case.replace("_", "-"), "stt")
    lm, said = found.load_lm(dtype="float32"), golden["dbl_text_tokens"]
    codes, right, end = golden["codes"], True, None
    if "pcm" in golden:
        codec, pcm = found.load_mimi(codes.shape[1], decoder=False), golden["pcm"][:, 0]
        right, end = check_codes(codec, golden, pcm)
        tokens, pauses = listen(lm, pcm, codec=codec)
    else:
        tokens, pauses = listen(lm, codes)
    right &= equal("tokens", tokens[0, :end].tolist(), said[0, 1:][:end].tolist())
    expected = golden["dbl_extra_heads"][..., 0].swapaxes(1, 2)[:, 1:]
    right &= near("pauses", pauses[:, :end], expected[:, :end], PAUSES)
    # Both models hear the reference's codes here, ties or not.
    logits = forced_text_logits(lm, codes, said)
    right &= equal("tokens, given the codes", logits.argmax(-1)[0].tolist(), said[0].tolist())
    return right & near("text logits", logits, golden["dbl_text_logits"], TEXT)


def check_tts(folder: Path, case: str) -> bool:
    meta, golden = fixtures.meta(case, folder), fixtures.arrays(case, folder)
    checkpoint = folder / "checkpoints" / meta["checkpoint"]
    rows = speaking.run_case(case, checkpoint, root=folder)
    same = all([equal(*each) for each in speaking.compared(rows, meta, golden)])
    found = []
    loaded = checkpoint, meta["n_q"], not meta["cfg_is_no_text"], "float32"
    lm = speaking.recorded(*loaded).lm  # which spoke
    condition, cross = conditions_of(lm, meta, checkpoint)
    if condition is not None:
        found.append(near("summed conditions", condition, golden["cond_sum"], SUMMED))
        found.append(near("attended condition", cross, golden["cond_cross"], ATTENDED))
    text, depth = forced_logits(lm, meta, checkpoint, golden)
    found.append(near("text logits", text, golden["text_logits"], TEXT))
    found.append(near("depth logits", depth, golden["dep_logits"], DEPTH))
    # After a code that was a tie all is another speech: then both are given the reference's.
    found.append(same or only_ties(lm, meta, checkpoint, golden))
    speaking.run_case.cache_clear()
    speaking.recorded.cache_clear()
    return all(found)


def only_ties(lm, meta: dict, checkpoint: Path, golden) -> bool:
    """Whether the text tokens and codes of every step, given the reference's tokens, are its own,
    but for codes whose logits are as near as `DEPTH` times what guidance makes of it.

    Of a case of one script.
    """
    hidden = forced_hidden(lm, meta, checkpoint, golden["lm_inputs"])
    text, prefix = golden["text_logits"], golden["prefix0"].shape[1]
    ours = np.array(lm.text_logits(hidden))[0, prefix:].argmax(-1)
    right = equal("tokens, given all before", ours.tolist(), text[0, prefix:].argmax(-1).tolist())
    guidance, gaps, count = mx.array([float(meta["cfg_coef"])]), [], 0
    for step in range(prefix + meta["delay_steps"] + 2, text.shape[1] - 1):
        codes = golden["lm_inputs"][0, 1:, step + 1]  # as the next step hears them
        inputs = lm.depformer.linear_in(hidden[:, step])
        past, token = lm.depformer.no_past(inputs), meta["logged_text_tokens"][0][step][1]
        for k in range(lm.config.dep_q):
            logits, past = lm.depformer.slice(k, mx.array([token]), inputs, past)
            token, chosen = int(codes[k]), np.array(guide(logits, guidance))[0]
            count += 1
            if chosen.argmax() != token:
                gaps.append(float(chosen.max() - chosen[token]))
    print(f"  codes, given all before: {count - len(gaps)} of {count} equal, the others by {gaps}")
    return right and max(gaps, default=0) <= DEPTH * (2 * meta["cfg_coef"] - 1)


CHECKS = {"mimi": check_mimi, "stt": check_stt, "tts": check_tts}


def main(folder: Path, *wanted: str) -> int:
    mx.set_default_device(mx.cpu)
    made = sorted(path.stem for path in (folder / "golden").glob("*_full*.npz"))
    cases = [case for case in made if case.startswith(wanted or "")]
    if not cases:
        sys.exit(f"{folder}: holds none of these cases (expected some of {made})")
    wrong = []
    for case in cases:
        print(case, flush=True)
        if not CHECKS[case.split("_")[0]](folder, case):
            wrong.append(case)
    print(f"{len(cases) - len(wrong)} of {len(cases)} cases are as in the reference", *wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
