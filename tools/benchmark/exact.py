"""Whether this device gives what it should: goldens of the reference, `tiny`, compiled steps.

Each check yields rows of a table: what is checked, what is expected, what was found, the verdict.
A CPU has to give what the tests demand. A GPU adds up in another order and may round what it
multiplies, which can change a token where two are nearly as likely, and all that follow it.
"""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np

import dsm_mlx
from dsm_mlx.loading.checkpoint import Checkpoint, load_mimi
from dsm_mlx.runtime.device import on_cpu
from dsm_mlx.stt.step import SttStep

sys.path.append(str(Path(__file__).parents[2] / "tests"))
import golden
import hearing

_AUDIO = Path(__file__).parents[2] / "demos/audio"
_MIMI = golden.CHECKPOINTS / "mimi-tiny"
_SAID = "good morning, how are you?"
_FRAME = 1920
OK, DIFFERS = "ok", "**differs**"

Row = tuple[str, str, str, str]


def goldens() -> Iterator[Row]:
    """One case of the codec and each precision of speech to text."""
    yield from _codec()
    with tempfile.TemporaryDirectory() as folder:
        for name, what in (
            ("stt-tiny", "float32"),
            ("stt-tiny-mlx", "a bfloat16 file, computed in float32"),
            ("stt-q64-mlx-q4", "a 4-bit file, computed in float32"),
            ("stt-q64-mlx-q8", "an 8-bit file, computed in float32"),
        ):
            yield from _hearing(golden.assemble(name, Path(folder) / name), what)
        yield _bfloat16(Path(folder) / "stt-tiny")
        yield _from_sound(Path(folder) / "stt-tiny")


def speech() -> Iterator[Row]:
    """A whole synthesis of the reference at temperature 0."""
    from speaking import run_case

    case = "tts_1spk"
    meta, arrays = golden.meta(case), golden.arrays(case)
    with tempfile.TemporaryDirectory() as folder:
        name = meta["checkpoint"]
        row = run_case(case, golden.assemble(name, Path(folder) / name))[0]
    steps = meta["end_steps"][0] + meta["delay_steps"] + meta["final_padding"]
    given = [out for _, out in meta["logged_text_tokens"][0]][row.first : steps]
    yield equal("tts-tiny, float32: text tokens", row.tokens, given)
    longest = meta["n_steps"] - meta["n_frames"]
    frames = arrays["frames"][0, 1 : 1 + meta["n_q"], row.first : steps - longest]
    codes = np.stack(row.codes[longest:], axis=-1)
    yield equal("tts-tiny, float32: codes of the sound", codes, frames)


def words_of_tiny() -> Iterator[Row]:
    """What `tiny` hears in the demos' recordings."""
    stt = dsm_mlx.load_stt("tiny")
    for path in sorted(_AUDIO.glob("*.wav")):
        expected = path.with_suffix(".txt").read_text(encoding="utf-8").split()
        heard = stt.transcribe(path).text.split()
        yield equal(f"tiny, {path.name}: words", heard, expected)


def compiled_hearing() -> Iterator[Row]:
    """The words of `tiny` with compiled steps and without."""

    def hear() -> list[tuple]:
        found = dsm_mlx.load_stt("tiny", dtype="float32").transcribe(_AUDIO / "bus.wav")
        return [(word.text, word.start, word.end) for word in found.words]

    plain, compiled = _both_ways(hear)
    yield equal("tiny, float32, compiled and not: words and times", compiled, plain)


def compiled_speaking() -> Iterator[Row]:
    """What `tiny` says at temperature 0 with compiled steps and without."""

    def say() -> dsm_mlx.Speech:
        return dsm_mlx.load_tts("tiny", dtype="float32").synthesize(_SAID, temperature=0)

    plain, compiled = _both_ways(say)
    words = [[(word.text, word.start) for word in speech.words] for speech in (compiled, plain)]
    yield equal("tiny, float32, compiled and not: words said and times", *words)
    if compiled.audio.shape == plain.audio.shape:
        sounds = compiled.audio, plain.audio
        yield near("tiny, float32, compiled and not: sound", *sounds, 1e-4 if on_cpu() else 1e-2)


def _both_ways(work: Callable) -> list:
    """What it gives without compiling, and with; models are loaded anew."""
    given = []
    for wanted in ("0", "1"):
        os.environ["DSM_MLX_COMPILE"] = wanted
        gc.collect()  # handles that are held share their steps, compiled or not
        given.append(work())
    return given


def _codec() -> Iterator[Row]:
    """Every frame of its own, over five times the codec's window."""
    case = golden.arrays("mimi_tiny")
    model = load_mimi(_MIMI / "mimi.safetensors", _MIMI / "mimi_config.json")
    pcm = case["pcm_in"][:, 0]
    pcm = np.pad(pcm, ((0, 0), (0, -pcm.shape[1] % _FRAME)))
    encoder, decoder = model.encoder_state(len(pcm)), model.decoder_state(len(pcm))
    codes, sound = [], []
    for number, frame in enumerate(np.split(pcm, pcm.shape[1] // _FRAME, axis=1)):
        found, encoder = model.encode_step(mx.array(frame), encoder)
        given = mx.array(case["codes"][..., number : number + 1])
        back, decoder = model.decode_step(given, decoder)
        mx.eval(encoder, decoder)
        codes.append(np.array(found))
        sound.append(np.array(back))
    yield equal("Mimi: codes of a sound", np.concatenate(codes, -1), case["codes"])
    tolerance = 1e-4 if on_cpu() else 2e-3
    yield near("Mimi: sound of codes", np.concatenate(sound, -1), case["pcm"][:, 0], tolerance)


def _hearing(folder: Path, what: str) -> Iterator[Row]:
    """Tokens that follow from each other, and logits after the reference's own tokens."""
    case, name = golden.arrays(folder.name.replace("-", "_")), f"{folder.name}, {what}"
    lm = hearing.load(folder)
    if "dbl_text_tokens" in case:
        codes, tokens, logits = case["codes"], case["dbl_text_tokens"], case["dbl_text_logits"]
    else:  # of moshi_mlx: one row
        codes = case["codes"][None]
        tokens, logits = case["text_tokens"][None], case["text_logits"][None]
    heard, _ = hearing.listen(lm, codes)
    expected = tokens[:, 1:]
    yield equal(f"{name}: text tokens", heard[:, : expected.shape[1]], expected)
    found = hearing.forced_logits(lm, codes, tokens)
    yield near(f"{name}: logits", found, logits, 1e-4 if on_cpu() else 2e-2, relative=1e-4)


def _bfloat16(folder: Path) -> Row:
    """Logits computed in bfloat16, against the reference's in float32."""
    case = golden.arrays("stt_tiny")
    expected = case["dbl_text_logits"]
    lm = hearing.load(folder, "bfloat16")
    found = hearing.forced_logits(lm, case["codes"], case["dbl_text_tokens"])
    error = float(np.sqrt(np.mean((found - expected) ** 2)) / expected.std())
    verdict = OK if error < 0.03 else DIFFERS
    name = "stt-tiny, computed in bfloat16: logits, root mean square error over their spread"
    return name, "below 0.03", f"{error:.4f}", verdict


def _from_sound(folder: Path) -> Row:
    """Codec and language model in one step."""
    found, case = Checkpoint.find(folder, "stt"), golden.arrays("stt_tiny_e2e")
    step = SttStep(found.load_lm(dtype="float32"), found.load_mimi(8, decoder=False))
    state, tokens = step.beginning(), []
    for frame in np.split(case["pcm"][0], case["pcm"].shape[-1] // _FRAME, axis=-1):
        output, state = step(mx.array(frame), state)
        mx.eval(state)
        tokens.append(output.text.item())
    return equal(
        "stt-tiny, float32, from sound: text tokens", tokens, case["dbl_text_tokens"][0, 1:]
    )


def equal(what: str, found, expected) -> Row:
    """Whether all are equal; else how many are, and where the first one is that is not."""
    found, expected = list(_flat(found)), list(_flat(expected))
    same = sum(a == b for a, b in zip(found, expected, strict=False))
    said = f"{same} of {len(expected)} equal"
    if found == expected:
        return what, "all equal", said, OK
    pairs = zip(found, expected, strict=False)
    first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(found), len(expected)))
    return what, "all equal", f"{said}, {len(found)} there, the first other at {first}", DIFFERS


def _flat(values) -> list:
    return values.ravel().tolist() if isinstance(values, np.ndarray) else list(values)


def near(what: str, found, expected, tolerance: float, relative: float = 0.0) -> Row:
    """Whether no value is further off than the tolerance, and `relative` times the value."""
    off = np.abs(np.asarray(found, np.float64) - expected)
    verdict = OK if (off <= tolerance + relative * np.abs(expected)).all() else DIFFERS
    beside = f" + {relative:g} of the value" if relative else ""
    return what, f"within {tolerance:g}{beside}", f"at most {off.max():.1e} off", verdict
