"""The arguments of the serve command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
import os
import socket

from dsm_mlx.cli.arguments import add_both_models, new_parser, whole
from dsm_mlx.cli.reply_args import add_replies, check_replies
from dsm_mlx.messages import shown

KEY_VARIABLE = "DSM_API_KEY"
NO_MODEL = "none"
WYOMING_PORT = 10300  # which Home Assistant's users know from other servers
EXAMPLES = """\
  %(prog)s
  %(prog)s --stt stt-1b --tts tts-1.6b --max-streams 8
  %(prog)s --llm mlx-community/Qwen3-4B-4bit
  %(prog)s --tts none --port 8090
  %(prog)s --host 0.0.0.0 --api-key a-long-secret
  %(prog)s --wyoming 0.0.0.0:10300 --zeroconf
  %(prog)s --check
"""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for, with the key of the environment where none was given."""
    p = parser()
    args = p.parse_args(argv)
    if args.stt == args.tts == NO_MODEL:
        p.error("--stt and --tts are both none: there would be nothing to serve")
    for part in ("stt", "tts"):
        if getattr(args, part) == NO_MODEL and getattr(args, f"{part}_lora") is not None:
            p.error(f"--{part}-lora needs a model, and --{part} is none")
    if args.stt == NO_MODEL and (args.llm or args.llm_url) is not None:
        p.error("--llm and --llm-url answer who is heard, and --stt is none")
    check_replies(p, args)
    if args.port > 65535:
        p.error("--port goes up to 65535")
    if args.zeroconf is not None and args.wyoming[1] is None:
        p.error("--zeroconf tells of Wyoming's port, and needs --wyoming")
    if not args.api_key and (key := os.environ.get(KEY_VARIABLE)):
        args.api_key = [key]
    return args


def _wyoming(text: str) -> tuple[str, int]:
    """HOST:PORT, or PORT; an IPv6 address in brackets."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{shown(text)} (expected [HOST:]PORT)")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def parser() -> argparse.ArgumentParser:
    """Of all that the command takes."""
    p = new_parser(
        "A server for speech to text and text to speech on this machine, which clients of\n"
        "Kyutai's moshi-server use unchanged. Without options only this machine's users can come.",
        EXAMPLES,
    )
    models = p.add_argument_group("models")
    add_both_models(models, ", or none")
    models.add_argument(
        "--max-streams",
        type=whole(1),
        metavar="N",
        help="sockets at the same time, for each of the two (default: what fits the memory, 16 at "
        "most)",
    )
    add_replies(p.add_argument_group("what answers in conversations, beside an echo"))
    _add_where(p.add_argument_group("where"))
    _add_who(p.add_argument_group("who may come"))
    p.add_argument(
        "--check",
        action="store_true",
        help="start, say a sentence through the server and hear it back, and stop; status 0 if it "
        "was understood",
    )
    return p


def _add_where(where: argparse._ArgumentGroup) -> None:
    where.add_argument("--host", default="127.0.0.1", help="name or address (default: %(default)s)")
    where.add_argument(
        "--port", type=whole(0), default=8080, help="0 takes a free one (default: %(default)s)"
    )
    where.add_argument("--unix-socket", metavar="PATH", help="a socket in the file system instead")
    where.add_argument(
        "--wyoming",
        nargs="?",
        type=_wyoming,
        const=("127.0.0.1", WYOMING_PORT),
        default=("127.0.0.1", None),
        metavar="[HOST:]PORT",
        help="serve Home Assistant too, at one port for both speech to text and text to speech, "
        f"which it finds out (without PORT: {WYOMING_PORT}). Wyoming knows no keys, so only this "
        "machine can come unless a HOST is given",
    )
    where.add_argument(
        "--zeroconf",
        nargs="?",
        const=f"dsm-mlx {socket.gethostname()}"[:63],
        metavar="NAME",
        help="tell the network of Wyoming's port, by mDNS, so that Home Assistant finds it by "
        "itself (without NAME: %(const)s)",
    )


def _add_who(who: argparse._ArgumentGroup) -> None:
    who.add_argument(
        "--api-key",
        action="append",
        default=[],
        metavar="KEY",
        help=f"that clients must show; may be given more than once (or {KEY_VARIABLE}). With a "
        "host that others can reach, one is made up where none is given",
    )
    who.add_argument(
        "--allow-origin",
        action="append",
        default=[],
        metavar="ORIGIN",
        help="web pages that may come, such as https://example.com; may be given more than once",
    )
