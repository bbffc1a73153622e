"""How a speech-to-text model does, alone and beside the one it was made from."""

from __future__ import annotations

import gc
import time
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx
import numpy as np

import dsm_mlx
from dsm_mlx.audio import read
from dsm_mlx.codec.mimi import encode_pieces
from dsm_mlx.errors import AudioError
from dsm_mlx.loading.core import open_core
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime import worker
from dsm_mlx.runtime.worker import Pieces
from dsm_mlx.stt.core import SttCore
from dsm_mlx.stt.model import SpeechToText
from evaluation import figures, forcing

_SOUND = (".wav", ".flac", ".ogg", ".mp3", ".m4a")
_ROWS = 8


@dataclass(frozen=True)
class Recording:
    """A sound file, and its text where there is one."""

    path: Path
    text: str | None


def recordings(paths: list[Path]) -> list[Recording]:
    """Sound files and the sound files of folders; a text lies beside each as NAME.txt.

    AudioError if there is none, or one that is named is missing.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(file for file in path.iterdir() if file.suffix.lower() in _SOUND)
        elif path.is_file():
            files.append(path)
        else:
            raise AudioError(f"{path}: no such file or folder")
    if not files:
        raise AudioError(f"{', '.join(map(str, paths))}: no sound files")
    texts = [file.with_suffix(".txt") for file in files]
    return [
        Recording(file, text.read_text(encoding="utf-8") if text.is_file() else None)
        for file, text in zip(files, texts, strict=True)
    ]


class Listening:
    """Recordings as the reference model hears them, to compare other models with."""

    def __init__(self, items: list[Recording]):
        self._items = items
        self._reference: dict | None = None

    def evaluate(self, model: str | Path, dtype: str | None) -> dict:
        """All figures of a model; the first one evaluated is the reference of those after it."""
        worker.run(forget_memory)
        stt = dsm_mlx.load_stt(model, dtype=dtype)
        result = self._speed(stt) | {"wer": self._wer(stt)}
        # What the handle shares with all others of the same files.
        core, _ = open_core(SttCore, model, LoadOptions(dtype=dtype), None, None, None)
        heard = worker.run_pieces(_hear(core, self._pcm(core), self._reference))
        if self._reference is None:
            self._reference = heard
        return result | _compared(self._reference, heard)

    def _speed(self, stt: SpeechToText) -> dict:
        """Of one live row: the second time, when all is compiled."""
        longest = max(self._items, key=lambda item: item.path.stat().st_size)
        for _ in range(2):
            times = frame_seconds(stt, longest.path)
        # The median: a machine that is busy with other things now and then does not change it.
        peak = worker.run(mx.get_peak_memory)
        return {"ms_per_frame": 1e3 * float(np.median(times)), "peak_bytes": peak}

    def _wer(self, stt: SpeechToText) -> float | None:
        known = [item for item in self._items if item.text is not None]
        heard = stt.transcribe([item.path for item in known], batch=_ROWS)
        pairs = [(item.text, result.text) for item, result in zip(known, heard, strict=True)]
        return figures.word_error_rate(pairs)

    def _pcm(self, core: SttCore) -> list[np.ndarray]:
        """With the silence that a file is given before and after it."""
        rate, config = core.codec.config.sample_rate, core.config
        silence = round(config.prefix * rate), round((config.delay + 1) * rate)
        return [np.pad(read(item.path, target=rate), silence) for item in self._items]


def frame_seconds(stt: SpeechToText, path: Path) -> list[float]:
    """What each frame of a recording takes, heard in one live row."""
    pcm = read(path, target=stt.sample_rate)
    size = round(stt.sample_rate / stt.frame_rate)
    times = []
    with stt.stream() as stream:
        for frame in np.split(pcm[: len(pcm) // size * size], max(1, len(pcm) // size)):
            start = time.perf_counter()
            stream.feed(frame)
            times.append(time.perf_counter() - start)
        stream.close()
    return times


def forget_memory() -> None:
    """Start counting the peak anew, without what the model before left behind."""
    gc.collect()
    mx.clear_cache()
    mx.reset_peak_memory()


def _hear(core: SttCore, pcm: list[np.ndarray], reference: dict | None) -> Pieces[dict]:
    """Codes, tokens and logits of every recording, the reference's tokens forced on the model."""
    condition = core.condition(core.config.delay)
    size = core.codec.config.frame_size
    all_codes, all_tokens, all_logits = [], [], []
    for first in range(0, len(pcm), _ROWS):
        chunk = pcm[first : first + _ROWS]
        frames = [-(-len(one) // size) for one in chunk]
        padded = np.stack([np.pad(one, (0, max(frames) * size - len(one))) for one in chunk])
        codes = yield from encode_pieces(core.codec, padded)
        tokens = None if reference is None else _padded(reference["tokens"][first : first + _ROWS])
        said, logits = yield from forcing.listen(core.lm, codes, condition, tokens)
        for row, count in enumerate(frames):
            all_codes.append(codes[row, :, :count])
            all_tokens.append(said[row, :count])
            all_logits.append(logits[row, :count])
    return {"codes": all_codes, "tokens": all_tokens, "logits": all_logits}


def _padded(rows: list[np.ndarray]) -> np.ndarray:
    longest = max(len(row) for row in rows)
    return np.stack([np.pad(row, (0, longest - len(row)), mode="edge") for row in rows])


def _compared(reference: dict, heard: dict) -> dict:
    """Over all frames of all recordings."""
    before, after = (np.concatenate(one["logits"]) for one in (reference, heard))
    codes = (np.concatenate([c.reshape(-1) for c in one["codes"]]) for one in (reference, heard))
    return {
        "text_agreement": figures.agreement(before.argmax(-1), after.argmax(-1)),
        "text_kl": figures.divergence(before, after),
        "code_agreement": figures.agreement(*codes),
    }
