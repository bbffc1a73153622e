"""Models of Kyutai's that are refused on purpose, each by name and with the reason."""

from __future__ import annotations

from dsm_mlx.errors import CheckpointError
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.files.hub import CONFIG, Files
from dsm_mlx.files.network import NoFile
from dsm_mlx.messages import named

_BOTH = "which hears and speaks at the same time, and here models do one of the two"
_DIALOGUE = f"a dialogue model (Moshi), {_BOTH}"
_TRANSLATION = f"a model that translates speech (Hibiki), {_BOTH}"
_LATENTS = "Pocket TTS, no model of delayed streams: it writes latents in the place of codes"
_BY_TYPE = {"moshi": _DIALOGUE, "hibiki": _TRANSLATION, "pocket_tts": _LATENTS}
# Some of the repositories have no config.json, or none that says what they are.
_BY_NAME = {
    "moshiko": _DIALOGUE,
    "moshika": _DIALOGUE,
    "hibiki": _TRANSLATION,
    "pocket-tts": _LATENTS,
}


def read_config(files: Files) -> ConfigReader:
    """The config.json of a model.

    Raises:
        CheckpointError: there is none, or it is of a model that is refused on purpose.
    """
    try:
        config = ConfigReader.read(files.get(CONFIG))
    except NoFile:
        if reason := _by_name(files):
            raise CheckpointError(f"{named(files.name)}: {reason}") from None
        raise
    if reason := _by_config(config, files):
        raise CheckpointError(f"{config.source}: of {reason}")
    return config


def _by_config(config: ConfigReader, files: Files) -> str | None:
    values = config.values
    kind = values.get("model_type")
    if isinstance(kind, str) and kind in _BY_TYPE:
        return _BY_TYPE[kind]
    if kind is not None:
        return None
    written, streams = values.get("dep_q"), values.get("n_q")
    hears = type(written) is type(streams) is int and 0 < written < streams
    if hears and not values.get("tts_config"):  # the others are what it hears
        return _by_name(files) or _DIALOGUE
    return None


def _by_name(files: Files) -> str | None:
    name = files.name.replace("\\", "/").rpartition("/")[2].lower()
    return next((reason for part, reason in _BY_NAME.items() if part in name), None)
