"""dsm_mlx: speech to text and text to speech as streams, on your own machine.

Only names are defined here; MLX and the models are imported by the first `load_…`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dsm_mlx.errors import AudioError, BusyError, CheckpointError, ReplyError
from dsm_mlx.options import Prompt, TurnPolicy
from dsm_mlx.results import (
    Chunk,
    EndOfTurn,
    Event,
    Mark,
    ModelInfo,
    Partial,
    Pause,
    Renewed,
    Speech,
    Transcript,
    Word,
)
from dsm_mlx.runtime import blas as _blas

if TYPE_CHECKING:
    from collections.abc import Callable
    from os import PathLike

    from dsm_mlx.codec.mimi import Mimi
    from dsm_mlx.stt.model import SpeechToText
    from dsm_mlx.stt.recordings import Progress
    from dsm_mlx.stt.stream import TranscriptStream
    from dsm_mlx.tts.model import TextToSpeech
    from dsm_mlx.tts.stream import SpeechStream

__version__ = "0.1.0"
__all__ = [
    "AudioError",
    "BusyError",
    "CheckpointError",
    "Chunk",
    "EndOfTurn",
    "Event",
    "Mark",
    "Mimi",
    "ModelInfo",
    "Partial",
    "Pause",
    "Progress",
    "Prompt",
    "Renewed",
    "ReplyError",
    "Speech",
    "SpeechStream",
    "SpeechToText",
    "TextToSpeech",
    "Transcript",
    "TranscriptStream",
    "TurnPolicy",
    "Word",
    "limit_memory",
    "load_codec",
    "load_stt",
    "load_tts",
]

_blas.load_before_mlx()

# What needs MLX is imported when it is asked for. The older names stay for one release.
_LATER = {
    "Mimi": "dsm_mlx.codec.mimi",
    "Progress": "dsm_mlx.stt.recordings",
    "SpeechStream": "dsm_mlx.tts.stream",
    "SpeechToText": "dsm_mlx.stt.model",
    "TextToSpeech": "dsm_mlx.tts.model",
    "TranscriptStream": "dsm_mlx.stt.stream",
}
_OLDER = {"Heard": "Progress", "Stream": "TranscriptStream"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _OLDER:
        import warnings

        warnings.warn(f"{name} is called {_OLDER[name]} now", DeprecationWarning, stacklevel=2)
        name = _OLDER[name]
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module 'dsm_mlx' has no attribute {name!r}")


def load_stt(
    model: str | PathLike[str] | None = None,
    *,
    bits: int | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    codebooks: int | None = None,
    cache: str | None = None,
    max_streams: int | None = None,
    lora: str | PathLike[str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> SpeechToText:
    """Load a speech-to-text model.

    Handles of the same files and options share their weights and batches: loading again costs
    nothing while one of them is held.

    Args:
        model: a folder (or its config.json), a hub id, a short name ("tiny", "stt-1b",
            "stt-2.6b"), or None for the best one that is already on this machine, else the
            bundled `tiny`. None never downloads; the `dsm_mlx` logger says what was taken.
        bits: 4 or 8 quantises while loading; a quantised checkpoint is loaded as it is.
        dtype: "float32", "bfloat16" or "float16"; None takes what is fast on this device.
        revision: of a repository on the hub.
        codebooks: how many to hear with; fewer than the model has take less time and memory, and
            hear less. None: all.
        cache: how keys and values are kept, a dtype or "q8" (8 bits, for memory); None: as
            `dtype`, or "bfloat16" where the weights are quantised.
        max_streams: how many streams of this handle may be open. None: the largest power of two
            up to 16 whose rows fit in a quarter of the memory that is free after loading.
        lora: a LoRA that is fused into the weights: a file, or hf://owner/repository/path. Scaling
            and rank are those of the config.json beside it, else of the model's config. None: the
            one that the model's config names, if it does.
        progress: called with the fraction done and what is being done, on this thread. An error
            in it ends this load and no other.

    Raises:
        CheckpointError: what is wrong with which file.
        TypeError, ValueError: what is wrong with which argument.
    """
    from dsm_mlx.loading.core import open_core
    from dsm_mlx.loading.options import LoadOptions
    from dsm_mlx.stt.core import SttCore
    from dsm_mlx.stt.model import SpeechToText

    options = LoadOptions(bits, dtype, cache, codebooks)
    return SpeechToText(*open_core(SttCore, model, options, revision, max_streams, progress, lora))


def load_tts(
    model: str | PathLike[str] | None = None,
    *,
    bits: int | None = None,
    dtype: str | None = None,
    revision: str | None = None,
    codebooks: int | None = None,
    cache: str | None = None,
    max_streams: int | None = None,
    lora: str | PathLike[str] | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> TextToSpeech:
    """Load a text-to-speech model.

    Args:
        model: as for `load_stt`, with "tts-1.6b" and "tts-0.75b" as short names.
        codebooks: how many to speak with; fewer than the model has are faster and sound poorer.
        bits, dtype, revision, cache, max_streams, lora, progress: as for `load_stt`.

    Raises:
        CheckpointError: what is wrong with which file.
        TypeError, ValueError: what is wrong with which argument.
    """
    from dsm_mlx.loading.core import open_core
    from dsm_mlx.loading.options import LoadOptions
    from dsm_mlx.tts.core import TtsCore
    from dsm_mlx.tts.model import TextToSpeech

    options = LoadOptions(bits, dtype, cache, codebooks)
    return TextToSpeech(*open_core(TtsCore, model, options, revision, max_streams, progress, lora))


def load_codec(model: str | PathLike[str] | None = None, *, codebooks: int | None = None) -> Mimi:
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
    from dsm_mlx.checks import check_whole
    from dsm_mlx.runtime.device import limit_memory

    check_whole("cache", cache, 0)
    if wired is not None:
        check_whole("wired", wired, 0)
    limit_memory(cache, wired)
