"""The arguments of the captions command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse

from dsm_mlx.cli.arguments import (
    OF_MODEL,
    add_devices,
    add_model,
    add_server,
    check_server,
    new_parser,
    not_negative,
    whole,
)
from dsm_mlx.cli.help import Parser
from dsm_mlx.desktop.looks import LOOKS, SIZE, SIZES

EXAMPLES = """\
  %(prog)s
  %(prog)s --model stt-1b --text-size 35 --contrast high
  %(prog)s --device USB --not-on-top
  %(prog)s --server http://mac.local:8080
  %(prog)s --menu-bar
"""

# Shown by --help-all alone.
RARE = ("revision", "bits", "lora", "codebooks", "api_key", "list_devices", "list_models")
# What concerns a model on this machine.
OF_STREAM = (*OF_MODEL, "delay")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for."""
    p = parser()
    args = p.parse_args(argv)
    check_server(p, args, *OF_STREAM)
    if args.text_size is not None and not SIZES[0] <= args.text_size <= SIZES[-1]:
        p.error(f"--text-size {args.text_size} (expected {SIZES[0]} to {SIZES[-1]})")
    return args


def parser() -> Parser:
    """Of all that the command takes."""
    p = new_parser(
        "Live captions of the microphone, in a window that stays on top of others. Made on this\n"
        "machine. Words stay in the window; what goes wrong at the start is told on stderr.",
        EXAMPLES,
        RARE,
    )
    hearing = p.add_argument_group("hearing")
    add_model(p, "tiny, stt-1b, stt-2.6b", "faster", hearing)
    hearing.add_argument("--delay", type=not_negative, metavar="S", help="for models that take one")
    add_devices(hearing, "microphone", hearing)
    add_server(p, hearing)
    looks = p.add_argument_group("looks")
    looks.add_argument("--contrast", choices=LOOKS, help="light on dark (dark), or another")
    looks.add_argument("--text-size", type=whole(1), metavar="N", help=f"in points ({SIZE})")
    looks.add_argument("--not-on-top", action="store_true", help="other windows may cover it")
    looks.add_argument("--wait", action="store_true", help="listen only when told to")
    looks.add_argument(
        "--menu-bar",
        action="store_true",
        help="macOS: in the menu bar, from which a window opens (needs dsm-mlx[menubar])",
    )
    return p
