"""The arguments that commands share. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable

import dsm_mlx
from dsm_mlx.cli.common import program_name
from dsm_mlx.cli.help import Parser
from dsm_mlx.cli.remote import KEY_VARIABLE, Server

OF_MODEL = ("model", "revision", "bits", "lora", "codebooks")
"""What `add_model` adds that concerns a model on this machine, and is none to a server."""


def option(name: str) -> str:
    """What is typed for an argument: --out-dir for `out_dir`."""
    return f"--{name.replace('_', '-')}"


def new_parser(description: str, examples: str, rare: Iterable[str] = ()) -> Parser:
    """A parser that knows its program's name and `--version`, and shows examples of its use.

    examples: lines in which `%(prog)s` is the name that the program was called by. rare: the
    arguments that only `--help-all` shows; without any there is no such option.
    """
    p = Parser(
        rare,
        prog=program_name(),
        description=description,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=f"%(prog)s {dsm_mlx.__version__}")
    return p


def add_model(
    p: argparse.ArgumentParser,
    names: str,
    fewer: str,
    group: argparse._ArgumentGroup | None = None,
) -> argparse._ArgumentGroup:
    """Which model, and how it is loaded. names: the short ones. fewer: what fewer codebooks are.
    group: where to show it; else in its own."""
    group = group or p.add_argument_group("model")
    group.add_argument(
        "--model",
        help=f"folder, hub id, or {names} (default: the best on this machine, else tiny)",
    )
    group.add_argument("--list-models", action="store_true", help="show those here, and exit")
    group.add_argument("--revision", help="of the hub repository")
    group.add_argument("--bits", type=int, choices=(4, 8), help="quantise while loading")
    group.add_argument("--lora", metavar="FILE", help="a LoRA to fuse into it, or hf://…")
    group.add_argument(
        "--codebooks", type=whole(1), metavar="N", help=f"fewer than the model has are {fewer}"
    )
    return group


def add_both_models(group: argparse._ArgumentGroup, or_none: str = "") -> None:
    """Which models listen and speak, and how they are loaded. or_none: what is said of a model
    that may be left out."""
    default = "default: the best on this machine, else tiny"
    group.add_argument("--stt", metavar="MODEL", help=f"what listens{or_none} ({default})")
    group.add_argument("--tts", metavar="MODEL", help=f"what speaks{or_none} (the same)")
    for part in ("stt", "tts"):
        group.add_argument(
            f"--{part}-lora", metavar="FILE", help=f"a LoRA to fuse into --{part}, or hf://…"
        )
    group.add_argument("--bits", type=int, choices=(4, 8), help="quantise both while loading")


def add_sampling(group: argparse._ArgumentGroup, default: str) -> None:
    """How tokens are chosen. default: what the temperature is if it is not given."""
    group.add_argument(
        "--temperature", type=not_negative, metavar="T", help=f"0 to 1 or so (default: {default})"
    )
    group.add_argument(
        "--seed", type=whole(0), metavar="N", help="for a result that can be repeated"
    )


def add_devices(
    p: argparse.ArgumentParser | argparse._ArgumentGroup,
    what: str,
    group: argparse._ArgumentGroup | None = None,
) -> argparse._ArgumentGroup:
    """Which sound device. what: the kind that is used. group: where to show it; else in its own."""
    group = group or p.add_argument_group("sound devices")
    group.add_argument("--device", metavar="N", help=f"{what}: its number, or part of its name")
    group.add_argument("--list-devices", action="store_true", help="show sound devices and exit")
    return group


def add_server(p: argparse.ArgumentParser, group: argparse._ArgumentGroup | None = None) -> None:
    """A server instead of a model. group: where to show it; else in its own."""
    group = group or p.add_argument_group("a server instead of a model")
    group.add_argument(
        "--server", metavar="URL", help="dsm-serve, moshi-server: http(s)://HOST:PORT, unix:PATH"
    )
    group.add_argument(
        "--api-key", metavar="KEY", help=f"to show it (or {KEY_VARIABLE}, not seen in ps)"
    )


def check_server(p: argparse.ArgumentParser, args: argparse.Namespace, *own: str) -> None:
    """Make a `Server` of `args.server`. own: arguments that concern a model on this machine, and
    are refused with a server."""
    if args.server is None:
        if args.api_key is not None:
            p.error("--api-key is what a server is shown: it needs --server")
        return
    for name in own:
        if getattr(args, name) != p.get_default(name):
            p.error(f"{option(name)} concerns a model on this machine, and cannot go with --server")
    try:
        args.server = Server.of(args.server, args.api_key)
    except ValueError as error:
        p.error(f"--{error}")


def not_negative(text: str) -> float:
    """A number from 0 up."""
    value = float(text)
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(f"{text} (expected a number from 0 up)")
    return value


not_negative.__name__ = "number"  # as argparse calls it where it is none


def between(least: float, most: float) -> Callable[[str], float]:
    """A number from `least` to `most`."""

    def number(text: str) -> float:
        value = float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text} (expected {least:g} to {most:g})")
        return value

    return number


def moment(text: str) -> float:
    """A time in seconds, from "90.5", "1:30.5" or "00:01:30.500"."""
    seconds, *larger = text.split(":")[::-1]
    value = float(seconds)
    sizes = [60 * int(minutes) * 60**i for i, minutes in enumerate(larger) if minutes.isdecimal()]
    if len(sizes) != len(larger) or len(larger) > 2 or (larger and not value < 60):
        raise ValueError
    return not_negative(str(value + sum(sizes)))


moment.__name__ = "time (seconds, or HH:MM:SS)"


def whole(least: int) -> Callable[[str], int]:
    """An integer from `least` up."""

    def integer(text: str) -> int:
        value = int(text)
        if value < least:
            raise argparse.ArgumentTypeError(f"{text} (expected an integer from {least} up)")
        return value

    return integer
