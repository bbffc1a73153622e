"""The arguments of the chat command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
from pathlib import Path

from dsm_mlx.cli.arguments import add_both_models, new_parser
from dsm_mlx.cli.reply_args import RARE as RARE_OF_REPLIES
from dsm_mlx.cli.reply_args import add_replies, check_replies

LANGUAGES = {"en": "English", "fr": "French"}
EXAMPLES = """\
  %(prog)s --echo
  %(prog)s --stt stt-1b --tts tts-1.6b --llm mlx-community/Qwen3-4B-4bit
  %(prog)s --llm-url localhost:11434 --llm-model llama3.2 --headphones
  %(prog)s --llm-url https://HOST/v1 --llm-key OPENAI_API_KEY
  %(prog)s --llm models/chat --language fr --transcript talk.jsonl
"""

# Shown by --help-all alone.
RARE = (
    "bits",
    "stt_lora",
    "tts_lora",
    *RARE_OF_REPLIES,
    "list_devices",
    "list_models",
)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for. `key`: the one to show the server."""
    p = parser()
    args = p.parse_args(argv)
    args.key = None
    if not (args.list_devices or args.list_models):
        _check(p, args)
    return args


def parser() -> argparse.ArgumentParser:
    """Of all that the command takes."""
    p = new_parser(
        "Talk with a language model: speech to text, the model's reply, text to speech, all on\n"
        "this machine. What was said goes to stdout, all else to stderr.",
        EXAMPLES,
        RARE,
    )
    p.usage = "%(prog)s [options] --llm MODEL | --llm-url URL | --echo"
    _add_answers(p)
    _add_speech(p)
    _add_talk(p)
    return p


def _add_answers(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("what answers")
    add_replies(group)
    group.add_argument("--echo", action="store_true", help="say what was heard")


def _add_speech(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("listening and speaking")
    add_both_models(group)
    group.add_argument("--list-models", action="store_true", help="show those here, and exit")
    group.add_argument("--voice", metavar="NAME", help="or a path, or hf://owner/repository/path")
    group.add_argument("--language", choices=LANGUAGES, help="to answer in, and to read numbers in")


def _add_talk(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("the talk")
    group.add_argument(
        "--headphones",
        action="store_true",
        help="listen while speaking, so that you can interrupt; on loudspeakers it hears itself",
    )
    group.add_argument(
        "--mic-device", metavar="N", help="microphone: its number, or part of its name"
    )
    group.add_argument("--speaker-device", metavar="N", help="loudspeaker: the same")
    group.add_argument("--list-devices", action="store_true", help="show sound devices and exit")
    group.add_argument(
        "--transcript",
        metavar="FILE",
        type=Path,
        help="add each turn to it as it ends: JSON lines for .jsonl, else text",
    )
    group.add_argument("--quiet", action="store_true", help="no times and no hints")


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    ways = [args.llm is not None, args.llm_url is not None, args.echo]
    if sum(ways) != 1:
        p.error("give one of --llm MODEL, --llm-url URL and --echo")
    check_replies(p, args)
