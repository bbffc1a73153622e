"""What can be found out about this machine, a room for each subject.

A part that is missing or broken is an "error" of one line in its room, and the others are told.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from typing import Any

import dsm_mlx
from dsm_mlx.cli.extras import missing_of_extras
from dsm_mlx.messages import reason
from dsm_mlx.runtime import blas, machine

Room = dict[str, Any]
_PROXIES = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")


def findings() -> dict[str, Room]:
    """What is known by subject: machine, mlx, sound, models, hub, extras."""
    rooms: dict[str, Callable[[], Room]] = {
        "machine": _machine,
        "mlx": _mlx,
        "sound": _sound,
        "models": _models,
        "hub": _hub,
        "extras": _extras,
    }
    return {"dsm_mlx": {"version": dsm_mlx.__version__}} | {
        name: _as_far_as_it_goes(room) for name, room in rooms.items()
    }


def _as_far_as_it_goes(room: Callable[[], Room]) -> Room:
    try:
        return room()
    except Exception as error:  # whatever a broken installation raises is what is to be told
        return {"error": reason(error)}


def _machine() -> Room:
    return {
        "chip": machine.chip(),
        "memory": machine.memory(),
        "system": machine.system(),
        "python": platform.python_version(),
    }


def _mlx() -> Room:
    """An error, if MLX cannot be loaded."""
    from dsm_mlx.runtime.device import compiles

    return {
        "version": machine.mlx_version(),
        "device": machine.device(),
        "working_set": machine.working_set(),
        "compiled": compiles(),
        "blas": blas.name(),
    }


def _sound() -> Room:
    """Devices and permission, and what decodes the files that soundfile does not know."""
    from dsm_mlx.audio.afconvert import has_afconvert
    from dsm_mlx.audio.ffmpeg import has_ffmpeg
    from dsm_mlx.audio.permission import microphone_permission
    from dsm_mlx.audio.pyav import has_pyav

    decoders = {"PyAV": has_pyav, "ffmpeg": has_ffmpeg, "afconvert": has_afconvert}
    return {
        "decoders": [name for name, is_here in decoders.items() if is_here()],
        "permission": microphone_permission(),
        **_as_far_as_it_goes(_devices),
    }


def _devices() -> Room:
    from dsm_mlx.audio import list_devices

    return {"devices": list_devices()}


def _models() -> Room:
    """All that can be loaded without the network."""
    from dsm_mlx.loading.local import local_models

    return {"here": local_models()}


def _hub() -> Room:
    """Whether it would be asked for a model; it is not asked now."""
    from huggingface_hub import constants

    return {
        "offline": bool(constants.HF_HUB_OFFLINE),
        "endpoint": constants.ENDPOINT,
        "cache": os.fsdecode(constants.HF_HUB_CACHE),
        "proxy": any(os.environ.get(name) for name in _PROXIES),
    }


def _extras() -> Room:
    if getattr(sys, "frozen", False):
        return {"error": "this is an app, with what was put into it"}
    try:
        return {"missing": missing_of_extras()}
    except PackageNotFoundError:
        return {"error": "dsm-mlx is not installed here, but run from a folder"}
