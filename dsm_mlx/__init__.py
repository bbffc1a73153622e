"""dsm_mlx: speech to text and text to speech as streams, on your own machine.

Only names are defined here; MLX and the models are imported by the first `load_…`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dsm_mlx.errors import AudioError, BusyError, CheckpointError
from dsm_mlx.results import Chunk, EndOfTurn, Mark, Partial, Pause, Speech, Transcript, Word

if TYPE_CHECKING:
    from pathlib import Path

    from dsm_mlx.codec.mimi import Mimi
    from dsm_mlx.stt.model import SpeechToText
    from dsm_mlx.tts.model import TextToSpeech

__version__ = "0.1.0"
__all__ = [
    "AudioError",
    "BusyError",
    "CheckpointError",
    "Chunk",
    "EndOfTurn",
    "Mark",
    "Partial",
    "Pause",
    "Speech",
    "Transcript",
    "Word",
    "limit_memory",
    "load_codec",
    "load_stt",
    "load_tts",
]


def load_stt(
    model: str | Path | None = None,
    *,
    bits: int | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    cache: str | None = None,
) -> SpeechToText:
    """Load a speech-to-text model.

    Args:
        model: a folder (or its config.json), a hub id, a short name ("tiny", "stt-1b",
            "stt-2.6b"), or None for the best one that is already on this machine, else the
            bundled `tiny`. None never downloads; the `dsm_mlx` logger says what was taken.
        bits: 4 or 8 quantises while loading; a quantised checkpoint is loaded as it is.
        dtype: "float32", "bfloat16" or "float16"; None takes what is fast on this device.
        revision: of a repository on the hub.
        cache: how keys and values are kept, a dtype or "q8" (8 bits, for memory); None: as
            `dtype`, or "bfloat16" where the weights are quantised.

    Raises:
        CheckpointError: what is wrong with which file.
    """
    from dsm_mlx.loading.options import LoadOptions
    from dsm_mlx.stt.model import SpeechToText

    return SpeechToText.load(model, LoadOptions(bits, dtype, cache), revision=revision)


def load_tts(
    model: str | Path | None = None,
    *,
    bits: int | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    codebooks: int | None = None,
    cache: str | None = None,
) -> TextToSpeech:
    """Load a text-to-speech model.

    Args:
        model: as for `load_stt`, with "tts-1.6b" and "tts-0.75b" as short names.
        bits, dtype, revision, cache: as for `load_stt`.
        codebooks: how many to speak with; fewer than the model has are faster and sound poorer.

    Raises:
        CheckpointError: what is wrong with which file.
    """
    from dsm_mlx.loading.options import LoadOptions
    from dsm_mlx.tts.model import TextToSpeech

    return TextToSpeech.load(model, LoadOptions(bits, dtype, cache, codebooks), revision=revision)


def load_codec(model: str | Path | None = None, *, codebooks: int | None = None) -> Mimi:
    """Load the Mimi codec of a model.

    Args:
        model: as for `load_stt`; a folder with `mimi_config.json` and `mimi.safetensors` alone
            will do.
        codebooks: how many to use; None takes all that the model has.

    Raises:
        CheckpointError: what is wrong with which file.
    """
    from dsm_mlx.loading.checkpoint import load_codec

    return load_codec(model, codebooks=codebooks)


def limit_memory(cache: int = 256 << 20, wired: int | None = None) -> None:
    """Bound what MLX keeps beside the arrays in use, for all models of the process.

    Loading a model does this with the defaults on a GPU, unless it was called before.

    Args:
        cache: bytes of freed buffers that are kept to be used again.
        wired: bytes that macOS may not page out; None takes what it recommends.
    """
    from dsm_mlx.runtime.device import limit_memory

    limit_memory(cache, wired)
