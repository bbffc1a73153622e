"""What is to be converted: the files of a checkpoint and what each of them is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dsm_mlx.codec.config import OFFICIAL, MimiConfig
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.files.hub import Files, HubFiles, LocalFiles, locate
from dsm_mlx.lm.conditioning import ConditionersConfig
from dsm_mlx.loading.checkpoint import Checkpoint, Outline, outline_mimi
from dsm_mlx.loading.voices import SPEAKER_CONDITIONER, Voices

MIMI, MIMI_CONFIG = "mimi.safetensors", "mimi_config.json"


@dataclass(frozen=True)
class Source:
    """A checkpoint, or a codec alone (`lm` is None then).

    mimi: the name of the codec's file; mimi_config: of its config, None for the official Mimi.
    """

    files: Files
    lm: Checkpoint | None
    mimi: str
    mimi_config: str | None

    @classmethod
    def find(cls, name: str | Path, revision: str | None = None) -> Source:
        """From a folder, its config.json, a hub id or a short name such as "tiny".

        Raises:
            CheckpointError: there is no such thing, or it is neither a model nor a codec.
        """
        folder = Path(name).expanduser()
        if folder.is_dir() and not (folder / "config.json").exists():
            files = LocalFiles(folder)
            if not (folder / MIMI).exists():
                raise CheckpointError(f"{folder}: holds neither config.json nor {MIMI}")
            config = MIMI_CONFIG if (folder / MIMI_CONFIG).exists() else None
            return cls(files, None, MIMI, config)
        files = locate(name, "stt", revision)
        config = ConfigReader.read(files.get("config.json"))
        mimi = config.get("mimi_name", str, MIMI)
        return cls(
            files, Checkpoint(files, config), mimi, config.get("mimi_config_name", str, None)
        )

    @property
    def kind(self) -> str:
        """ "stt", "tts" or "codec"."""
        if self.lm is None:
            return "codec"
        config = self.lm.config
        default = "tts" if config.get("dep_q", int, 0) else "stt"
        return config.choice("model_type", ("stt", "tts"), default)

    @property
    def folder(self) -> Path:
        """Where its files lie on this machine."""
        return self.files.get("config.json" if self.lm else self.mimi).resolve().parent

    @property
    def published_name(self) -> str:
        """What others know it by: the hub's name, or a folder's without the path to it."""
        if isinstance(self.files, HubFiles):
            return self.files.repository
        return self.files.name if self.files.name == "tiny" else self.files.folder.resolve().name

    @cached_property
    def commit(self) -> str | None:
        """The revision of a hub repository, as the cache has it."""
        if not isinstance(self.files, HubFiles):
            return None
        parts = self.files.get("config.json").parts
        if "snapshots" in parts[:-2]:
            return parts[parts.index("snapshots") + 1]
        return self.files.revision

    @property
    def codec_values(self) -> dict:
        """The codec's config as it stands in its file; empty for the official Mimi."""
        name = self.mimi_config
        return ConfigReader.read(self.files.get(name)).values if name else {}

    @cached_property
    def codec(self) -> Outline:
        config = OFFICIAL
        if self.mimi_config:
            config = MimiConfig.read(ConfigReader.read(self.files.get(self.mimi_config)))
        return outline_mimi(self.files.get(self.mimi), config)

    @property
    def identity(self) -> dict[str, str]:
        """The "sig" and "epoch" that a model's voices must name too."""
        model_id = self.lm.config.get("model_id", dict, {}) if self.lm else {}
        return {key: str(model_id[key]) for key in ("sig", "epoch") if key in model_id}

    @cached_property
    def voice_width(self) -> int | None:
        """Of the embeddings that the model takes its voices from; None: it takes none."""
        if self.kind != "tts":
            return None
        conditioner = ConditionersConfig.read(self.lm.config).by_name.get(SPEAKER_CONDITIONER)
        return conditioner and conditioner.dim

    @cached_property
    def voices(self) -> Voices:
        """The voices of a text-to-speech model."""
        suffix = ""
        if self.voice_width:
            known = self.identity
            suffix = f".{known['sig']}@{known['epoch']}" if len(known) == 2 else ""
            suffix += ".safetensors"
        return Voices(self.files, suffix)
