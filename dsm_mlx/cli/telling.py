"""What `python -m dsm_mlx` says: findings in words, and what to type next."""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, is_dataclass
from typing import Any

from dsm_mlx.cli.common import check_stdout, put, shown_name
from dsm_mlx.cli.findings import Room, findings
from dsm_mlx.cli.models import model_lines

_EXTRAS = {
    "server": "dsm-serve",
    "client": "dsm-stt and dsm-tts with --server",
    "opus": "live Opus and AAC in the server",
    "chat": "a language model on this machine",
    "text": "numbers as words",
    "plot": "dsm-stt --plot",
    "cluster": "dsm-stt with --scheduler and --workers",
    "zeroconf": "the network is told of the server",
    "pipecat": "services of Pipecat's",
    "menubar": "dsm-captions --menu-bar",
    "docs": "the site of docs/",
}


def run(args: argparse.Namespace) -> int:
    """The command behind `dsm_mlx.cli.about.main`."""
    check_stdout("open it to see what was found")
    found = findings()
    put(as_json(found) if args.json else as_text(found))
    return 0


def as_json(found: dict[str, Any]) -> str:
    """The findings, and `next`: commands, and what each is for."""
    return json.dumps(found | {"next": dict(_next(found))}, indent=2, default=_plain) + "\n"


def _plain(value: Any) -> Any:
    """A device or a model as a dict, a path as text."""
    known = is_dataclass(value) and not isinstance(value, type)
    return asdict(value) if known else os.fsdecode(value)


def as_text(found: dict[str, Any]) -> str:
    """A heading and a few lines for each subject."""
    rooms = {
        f"dsm_mlx {found['dsm_mlx']['version']} on this machine": _machine(found["machine"])
        + _mlx(found["mlx"]),
        "sound": _sound(found["sound"]),
        "models here": _models(found["models"]),
        "more models": _hub(found["hub"]),
        "extras": _extras(found["extras"]),
        "what to type next": _columns(list(_next(found))),
    }
    return "\n".join(
        heading + "\n" + "".join(f"  {line}\n" for line in lines)
        for heading, lines in rooms.items()
    )


def _columns(commands: list[tuple[str, str]]) -> list[str]:
    longest = max(len(command) for command, _ in commands)
    return [f"{command:{longest}}  {what}" for command, what in commands]


def _machine(room: Room) -> list[str]:
    if "error" in room:
        return [f"cannot be told: {room['error']}"]
    memory = f"{room['memory'] / 2**30:.1f} GB of memory"
    return [f"{room['chip']}, {memory}", f"{room['system']}, Python {room['python']}"]


def _mlx(room: Room) -> list[str]:
    if "error" in room:
        return [f"MLX cannot be loaded: {room['error']}"]
    line = f"MLX {room['version']} on {room['device']}"
    if room["working_set"]:
        return [f"{line}, which should use {room['working_set'] / 2**30:.1f} GB at most"]
    return [f"{line}, matrix products by {room['blas']}"]


def _sound(room: Room) -> list[str]:
    lines = []
    devices = room.get("devices", [])
    for what, count, default in (
        ("microphone", "inputs", "default_input"),
        ("loudspeaker", "outputs", "default_output"),
    ):
        fit = [device for device in devices if getattr(device, count)]
        chosen = [device for device in fit if getattr(device, default)] or fit
        if chosen:
            more = f", and {len(fit) - 1} more (--list-devices)" if len(fit) > 1 else ""
            lines.append(f"{what}: {shown_name(chosen[0].name)}{more}")
        elif "error" not in room:
            lines.append(f"{what}: there is none")
    if "error" in room:
        lines.append(f"no sound devices: {room['error']}")
    if room.get("permission"):
        lines.append(f"permission to hear: {room['permission']}")
    if "decoders" in room:
        by = " or ".join(room["decoders"]) or "nothing (pip install av, or install ffmpeg)"
        lines.append(f"m4a, mp4 and films are decoded by {by}")
    return lines


def _models(room: Room) -> list[str]:
    if "error" in room:
        return [f"cannot be told: {room['error']}"]
    return model_lines(room["here"])


def _hub(room: Room) -> list[str]:
    if "error" in room:
        return [f"cannot be told: {room['error']}"]
    if room["offline"]:
        first = "nothing is downloaded: HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
    else:
        through = " through a proxy" if room["proxy"] else ""
        first = f"downloaded from {room['endpoint']}{through} when asked for (it was not asked now)"
    return [first, f"kept in {shown_name(room['cache'])}"]


def _extras(room: Room) -> list[str]:
    if "error" in room:
        return [f"cannot be told: {room['error']}"]
    lines = []
    for name, missing in room["missing"].items():
        what = f"{name:8} {_EXTRAS.get(name, '')}".rstrip()
        lacks = f": not here, pip install 'dsm-mlx[{name}]' (lacks {', '.join(missing)})"
        lines.append(what + (lacks if missing else ": here"))
    return lines


def _next(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Commands that work here, and one that fetches a better model."""
    stt, tts, chat = _command("stt"), _command("tts"), _command("chat")
    devices = found["sound"].get("devices", [])
    hears, speaks = (any(getattr(d, way) for d in devices) for way in ("inputs", "outputs"))
    yield f"{stt} FILE", "the words of a recording"
    if hears:
        yield f"{stt} --mic", "live captions"
    if speaks:
        yield f"{tts} 'Hello there.'", "spoken"
    yield f"{tts} 'Hello there.' --out hello.wav", "spoken into a file"
    if hears and speaks:
        yield f"{chat} --help", "a conversation"
    if not found["extras"].get("missing", {"server": "unknown"}).get("server"):
        yield _command("serve"), "a server for other programs"
    here = {model.name for model in found["models"].get("here", [])}
    if not found["hub"].get("offline") and "stt-1b" not in here:
        yield f"{stt} FILE --model stt-1b", "better words; downloads the model once"
    yield f"{stt} --help", "and so with all of them"


def _command(name: str) -> str:
    """As it can be typed here: the script where it is on the path."""
    return f"dsm-{name}" if shutil.which(f"dsm-{name}") else f"python -m dsm_mlx.{name}"
