"""Where voices are found, and reading them.

A model of the `speaker_wavs` kind takes its voices from files that its makers computed; the
encoder that makes them is not released. A model without that conditioner clones a voice from a
piece of sound, which it hears before it speaks.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import safetensors
from dsm_mlx.files.hub import Files, HubFiles, LocalFiles
from dsm_mlx.loading.checkpoint import Checkpoint

REPOSITORY = "kyutai/tts-voices"
DEFAULT_VOICE = "expresso/ex03-ex01_happy_001_channel1_334s.wav"  # that of Kyutai's own scripts
SPEAKER_CONDITIONER = "speaker_wavs"
_SOUND = (".wav", ".flac", ".mp3", ".ogg", ".m4a")
_ANY = ".safetensors"  # the suffix where the model does not say for whom its voices are made

Voice = str | os.PathLike


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
            folder = self.files.folder
            found = [str(p.relative_to(folder).as_posix()) for p in folder.rglob("*")]
        else:
            found = _in_repository()
        ends = _SOUND if self.clones else self.suffix
        found = [name for name in found if name.endswith(ends)]
        if self.suffix == _ANY and isinstance(self.files, LocalFiles):
            # The name alone does not tell: the model's own weights end so, too.
            found = [name for name in found if _is_voice(self.files.folder / name)]
        return sorted(name.removesuffix(self.suffix) for name in found)

    def default(self) -> str | None:
        """The voice for those who name none; None: the model chooses one."""
        if self.clones:
            return None
        if isinstance(self.files, HubFiles):
            return DEFAULT_VOICE
        names = self.names()
        if not names:
            raise CheckpointError(
                f"{self.files.name}: has no voice (a file *{self.suffix}) beside it; name one from "
                f"https://huggingface.co/{REPOSITORY}"
            )
        return names[0]

    def find(self, voice: Voice) -> Path:
        """The file of a voice: a name from `names`, a path, or `hf://owner/repository/path`.

        Raises:
            CheckpointError: there is none, or it is not of the kind that this model takes.
        """
        path = self._locate(os.fspath(voice))
        is_sound = path.suffix != ".safetensors"
        if is_sound and not self.clones:
            raise CheckpointError(
                f"{path}: this model cannot clone a voice from sound, because the encoder that "
                "this needs is not released; choose one of its voices (--list-voices), or a model "
                "that clones, such as tts-0.75b"
            )
        if self.clones and not is_sound:
            raise CheckpointError(f"{path}: this model clones a voice from sound, such as a .wav")
        return path

    def _locate(self, voice: str) -> Path:
        if voice.startswith("hf://"):
            owner, _, rest = voice.removeprefix("hf://").partition("/")
            repository, _, file = rest.partition("/")
            if not file:
                raise CheckpointError(f"voice {voice!r}: expected hf://owner/repository/path")
            return HubFiles(f"{owner}/{repository}").get(self._file(file))
        for path in (Path(self._file(voice)).expanduser(), Path(voice).expanduser()):
            if path.is_file():
                return path
        try:
            if isinstance(self.files, LocalFiles):
                return self.files.get(self._file(voice))
            return HubFiles(REPOSITORY).get(self._file(voice))
        except CheckpointError as error:
            raise CheckpointError(
                f"voice {voice!r}: not a file, and not one of this model's voices, which "
                f"--list-voices shows ({error})"
            ) from None

    def _file(self, voice: str) -> str:
        return voice if voice.endswith(".safetensors") else voice + self.suffix


def model_identity(checkpoint: Checkpoint) -> dict[str, str]:
    """ "sig" and "epoch", which tell what model a voice file was made for; empty if unknown."""
    model_id = checkpoint.config.get("model_id", dict, {})
    return {key: str(model_id[key]) for key in ("sig", "epoch") if key in model_id}


def read_embedding(path: Path, width: int, model_id: dict[str, str]) -> mx.array:
    """A voice file -> float32 (frames, width).

    model_id: "sig" and "epoch" of the model; a file that was made for another one is refused.
    """
    header = safetensors.read_header(path)
    for key, value in header.metadata.items():
        if key in model_id and value != model_id[key]:
            raise CheckpointError(
                f"{path}: a voice for another model ({key} is {value}, expected {model_id[key]})"
            )
    found = header.tensors.get(SPEAKER_CONDITIONER)
    if (
        found is None
        or len(found.shape) != 3
        or found.shape[:2] != (1, width)
        or not found.shape[2]
    ):
        shape = found and list(found.shape)
        raise CheckpointError(
            f"{path}: {SPEAKER_CONDITIONER} is {shape} (expected [1, {width}, frames])"
        )
    try:
        array = mx.load(str(path), format="safetensors")[SPEAKER_CONDITIONER]
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be loaded ({error})") from None
    return array[0].T.astype(mx.float32)


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


def _in_repository() -> list[str]:
    """The files of the voice repository: asked for, or else as far as they are in the cache."""
    from huggingface_hub import constants, list_repo_files

    try:
        return list_repo_files(REPOSITORY)
    except Exception:  # the hub's client raises many unrelated types; all mean "not reachable"
        cache = Path(constants.HF_HUB_CACHE) / f"models--{REPOSITORY.replace('/', '--')}"
        found = cache.glob("snapshots/*/**/*")
        return sorted({path.relative_to(cache).as_posix().split("/", 2)[2] for path in found})
