"""Where voices are found, and reading them.

A model of the `speaker_wavs` kind takes its voices from files that its makers computed; the
encoder that makes them is not released. A model without that conditioner clones a voice from a
piece of sound, which it hears before it speaks.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import network, safetensors
from dsm_mlx.files.hub import (
    Files,
    HubFiles,
    LocalFiles,
    did_you_mean,
    linked,
    stays_inside,
)
from dsm_mlx.files.tensors import load_safetensors
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.messages import cut, named, shown

REPOSITORY = "kyutai/tts-voices"
DEFAULT_VOICE = "expresso/ex03-ex01_happy_001_channel1_334s.wav"  # that of Kyutai's own scripts
SPEAKER_CONDITIONER = "speaker_wavs"
_SOUND = (".wav", ".flac", ".mp3", ".ogg", ".m4a")
_MOST_FRAMES = 3000  # of a voice: four minutes
_ANY = ".safetensors"  # the suffix where the model does not say for whom its voices are made

Voice = str | os.PathLike | Any
"""A name, a path, or an array of an embedding."""


@dataclass(frozen=True)
class Voices:
    """The voices of one model.

    suffix: of its voice files, such as ".1e68beda@240.safetensors"; "" if it clones from sound.
    """

    files: Files
    suffix: str

    @property
    def clones(self) -> bool:
        """Whether a voice is a piece of sound."""
        return not self.suffix

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Voices:
        """Those of a model whose weights need not be loaded."""
        if SPEAKER_CONDITIONER not in checkpoint.config.section("conditioners", {}).values:
            return cls(checkpoint.files, "")
        identity = model_identity(checkpoint)
        if len(identity) < 2:
            return cls(checkpoint.files, _ANY)
        return cls(checkpoint.files, f".{identity['sig']}@{identity['epoch']}.safetensors")

    def names(self) -> list[str]:
        """Those beside the model; for a model of the hub, those of the voice repository, or if it
        cannot be asked, those of them that are on this machine."""
        if isinstance(self.files, LocalFiles):
            return self._beside(self.files.folder)
        try:
            return self._of(network.list_files(REPOSITORY))
        except CheckpointError:
            return self._of(network.cached_files(REPOSITORY))

    def _beside(self, folder: Path) -> list[str]:
        found = [path for path in folder.rglob("*") if os.path.isfile(path)]
        if self.suffix == _ANY:
            # The name alone does not tell: the model's own weights end so, too.
            found = [path for path in found if path.suffix == _ANY and _is_voice(path)]
        names = (path.relative_to(folder).as_posix() for path in found)
        return self._of([name for name in names if stays_inside(name)])

    def _of(self, files: list[str]) -> list[str]:
        """The names of the voices among these files."""
        ends = _SOUND if self.clones else self.suffix
        return sorted(file.removesuffix(self.suffix) for file in files if file.endswith(ends))

    def default(self) -> str | None:
        """The voice for those who name none; None: the model chooses one."""
        if self.clones:
            return None
        if isinstance(self.files, HubFiles):
            return DEFAULT_VOICE
        names = self.names()
        if not names:
            raise CheckpointError(
                f"{named(self.files.name)}: has no voice (a file *{self.suffix}) beside it; name "
                f"one from https://huggingface.co/{REPOSITORY}"
            )
        return names[0]

    def find(self, voice: Voice) -> Path:
        """The file of a voice: a name from `names`, a path, or `hf://owner/repository/path`.

        Raises:
            CheckpointError: there is none, or it is not of the kind that this model takes.
            TypeError: it is neither a string nor a path.
        """
        name = os.fspath(voice) if isinstance(voice, (str, os.PathLike)) else voice
        if not isinstance(name, str):
            raise TypeError(f"voice is {shown(voice)} (expected a name, a path or hf://…)")
        path = self._locate(name)
        is_sound = path.suffix != ".safetensors"
        if is_sound and not self.clones:
            raise CheckpointError(
                f"{named(path)}: this model cannot clone a voice from sound, because the encoder "
                "that this needs is not released; choose one of its voices (--list-voices), or a "
                "model that clones, such as tts-0.75b"
            )
        if self.clones and not is_sound:
            raise CheckpointError(
                f"{named(path)}: this model clones a voice from sound, such as a .wav"
            )
        return path

    def _locate(self, voice: str) -> Path:
        if voice.startswith("hf://"):
            whole = voice.count("/") >= 4 and not voice.endswith("/")
            return linked(self._file(voice) if whole else voice, "voice")
        for path in map(os.path.expanduser, (self._file(voice), voice)):
            if os.path.isfile(path):
                return Path(path)
        try:
            if isinstance(self.files, LocalFiles):
                return self.files.get(self._file(voice))
            return HubFiles(REPOSITORY).get(self._file(voice))
        except network.Unreachable as error:
            known = self._of(network.cached_files(REPOSITORY))
            raise CheckpointError(f"voice {shown(voice)}: {error}{_near(voice, known)}") from None
        except network.NoFile:
            raise CheckpointError(
                f"voice {shown(voice)}: not a file, and not one of this model's voices, which "
                f"--list-voices shows{_near(voice, self.names())}"
            ) from None

    def _file(self, voice: str) -> str:
        return voice if voice.endswith(".safetensors") else voice + self.suffix


def _near(voice: str, known: list[str]) -> str:
    """Names that may have been meant: near to the whole, or to its last part, or without .wav."""
    short = {name.rpartition("/")[2].removesuffix(".wav"): name for name in reversed(known)}
    wanted = voice.rpartition("/")[2].removesuffix(".wav")
    # Of a name of three letters, such as slt, one may be wrong.
    return did_you_mean(voice, known) or did_you_mean(wanted, short, 0.65)


def model_identity(checkpoint: Checkpoint) -> dict[str, str]:
    """ "sig" and "epoch", which tell what model a voice file was made for; empty if unknown."""
    model_id = checkpoint.config.section("model_id", {})
    identity = {}
    for key in ("sig", "epoch"):
        value = model_id.values.get(key)
        if value is None:
            continue
        if type(value) not in (str, int) or not re.fullmatch(r"[\w.-]{1,64}", str(value)):
            raise model_id.wrong(key, value, "a short name or number")  # of files, too
        identity[key] = str(value)
    return identity


def read_embedding(path: Path, width: int, model_id: dict[str, str]) -> mx.array:
    """A voice file -> float32 (frames, width).

    model_id: "sig" and "epoch" of the model; a file that was made for another one is refused.
    """
    header, source = safetensors.read_header(path), named(path)
    for key, value in header.metadata.items():
        if key in model_id and value != model_id[key]:
            raise CheckpointError(
                f"{source}: a voice for another model ({key} is {shown(value)}, expected "
                f"{model_id[key]})"
            )
    found = header.tensors.get(SPEAKER_CONDITIONER)
    if found is None or not _is_voice_shape(found.shape, width):
        shape = shown(found and list(found.shape))
        raise CheckpointError(
            f"{source}: {SPEAKER_CONDITIONER} is {shape} (expected [1, {width}, frames]), 1 to "
            f"{_MOST_FRAMES} frames"
        )
    if found.dtype not in safetensors.FLOATS:
        raise CheckpointError(
            f"{source}: {SPEAKER_CONDITIONER} is {found.dtype} (expected "
            f"{' or '.join(safetensors.FLOATS)})"
        )
    try:
        with safetensors.name_for_mlx(path) as name:
            array = load_safetensors(name)[SPEAKER_CONDITIONER]
        return embedding_of(array, width)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{source}: cannot be used ({cut(str(error), 120)})") from None


def embedding_of(array, width: int) -> mx.array:
    """What may be a voice: an array of numbers -> float32 (frames, width), evaluated.

    array: of MLX, numpy or anything that becomes a numpy array; floats, of the shape (frames,
    width), or (1, width, frames) as voice files have it.

    Raises:
        TypeError: it is no array of floats.
        ValueError: it has another shape, or values that are not finite.
    """
    if isinstance(array, mx.array) and mx.issubdtype(array.dtype, mx.floating):
        array = array.astype(mx.float32)  # numpy has no bfloat16
    try:
        values = np.asarray(array)
    except Exception as error:  # of whatever library the array is
        raise TypeError(f"voice is {shown(array)}: {cut(str(error), 80)}") from None
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"voice is of type {values.dtype} (expected an array of float32)")
    if _is_voice_shape(values.shape, width):
        values = values[0].T
    elif values.ndim != 2 or values.shape[1] != width or not 1 <= len(values) <= _MOST_FRAMES:
        raise ValueError(
            f"voice is {shown(list(values.shape))} (expected (1 to {_MOST_FRAMES} frames, {width}))"
        )
    values = np.ascontiguousarray(values, np.float32)
    if not np.isfinite(values).all():
        raise ValueError("voice holds values that are not finite")
    return mx.array(values)


def _is_voice_shape(shape: tuple[int, ...], width: int) -> bool:
    """Whether it is that of a voice file, (1, width, frames)."""
    return len(shape) == 3 and shape[:2] == (1, width) and 1 <= shape[2] <= _MOST_FRAMES


def join_speakers(voices: list[mx.array], slots: int) -> tuple[mx.array, mx.array]:
    """Voices (frames, width) -> (1, slots * frames, width) and a bool mask (1, slots * frames).

    Every speaker has a slot as long as the longest voice; what is not filled is masked
    (reference: `make_condition_attributes`).
    """
    frames = max(voice.shape[0] for voice in voices)
    padded = [mx.pad(voice, [(0, frames - voice.shape[0]), (0, 0)]) for voice in voices]
    empty = mx.zeros((frames * (slots - len(voices)), voices[0].shape[1]))
    filled = mx.arange(frames)[None] < mx.array([v.shape[0] for v in voices])[:, None]
    mask = mx.concatenate([filled.reshape(-1), mx.zeros(empty.shape[0], mx.bool_)])
    return mx.concatenate([*padded, empty])[None], mask[None]


def _is_voice(path: Path) -> bool:
    try:
        return SPEAKER_CONDITIONER in safetensors.read_header(path).tensors
    except CheckpointError:
        return False
