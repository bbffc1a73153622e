"""The arguments of the chat command. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dsm_mlx.cli.arguments import add_loras, new_parser, not_negative, whole

KEY_VARIABLE = "DSM_MLX_LLM_KEY"
LANGUAGES = {"en": "English", "fr": "French"}
SYSTEM = (
    "You are talking with somebody. What you read was heard, so some words may be misheard, and "
    "what you write is spoken aloud. Answer in one to three short sentences of plain spoken "
    "language, without lists, Markdown, code or emoji."
)
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
    "max_tokens",
    "context",
    "seed",
    "timeout",
    "list_devices",
    "list_models",
)
_OF_SERVER = ("llm_model", "llm_key", "timeout")
_OF_LOCAL = ("context", "seed")
_OF_MODEL = ("system", "system_file", "temperature", "max_tokens")


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for. `key`: the one to show the server."""
    p = parser()
    args = p.parse_args(argv)
    args.key = None
    if not (args.list_devices or args.list_models):
        _check(p, args)
    return args


def parser() -> argparse.ArgumentParser:
    p = new_parser(
        "Talk with a language model: speech to text, the model's reply, text to speech, all on\n"
        "this machine. What was said goes to stdout, all else to stderr.",
        EXAMPLES,
        RARE,
    )
    p.usage = "%(prog)s [options] --llm MODEL | --llm-url URL | --echo"
    _add_replies(p)
    _add_speech(p)
    _add_talk(p)
    return p


def _add_replies(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("what answers")
    group.add_argument(
        "--llm", metavar="MODEL", help="a folder or hub id of mlx-lm's (needs dsm-mlx[chat])"
    )
    group.add_argument(
        "--llm-url", metavar="URL", help="an OpenAI-compatible server: Ollama, LM Studio, …"
    )
    group.add_argument("--echo", action="store_true", help="say what was heard")
    group.add_argument(
        "--llm-model", metavar="NAME", help="of the server (default: the first that it lists)"
    )
    group.add_argument(
        "--llm-key",
        nargs="?",
        const=KEY_VARIABLE,
        metavar="VARIABLE",
        help=f"show the server the key in this environment variable ({KEY_VARIABLE})",
    )
    group.add_argument("--system", metavar="TEXT", help="how to answer, in place of our own words")
    group.add_argument("--system-file", metavar="FILE", type=Path, help="the same, from a file")
    group.add_argument(
        "--temperature", type=not_negative, metavar="T", help="0.7, or what the server does"
    )
    group.add_argument(
        "--max-tokens", type=whole(1), metavar="N", help="of a reply: 512, or the server's"
    )
    group.add_argument(
        "--context", type=whole(1), metavar="N", help="tokens of the talk that --llm keeps (4096)"
    )
    group.add_argument("--seed", type=whole(0), metavar="N", help="for --llm to repeat itself")
    group.add_argument(
        "--timeout", type=not_negative, metavar="S", help="to give a silent server up after (60)"
    )


def _add_speech(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("listening and speaking")
    default = "default: the best on this machine, else tiny"
    group.add_argument("--stt", metavar="MODEL", help=f"what listens ({default})")
    group.add_argument("--tts", metavar="MODEL", help="what speaks (the same)")
    add_loras(group)
    group.add_argument("--bits", type=int, choices=(4, 8), help="quantise both while loading")
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
    for names, allowed, whose in (
        (_OF_SERVER, args.llm_url, "a server: it needs --llm-url"),
        (_OF_LOCAL, args.llm, "a model on this machine: it needs --llm"),
        (_OF_MODEL, not args.echo, "a language model, and cannot go with --echo"),
    ):
        for name in names:
            if not allowed and getattr(args, name) is not None:
                p.error(f"--{name.replace('_', '-')} concerns {whose}")
    if args.system is not None and args.system_file is not None:
        p.error("--system and --system-file say the same")
    if args.timeout == 0:
        p.error("--timeout 0 leaves no time for an answer")
    if args.llm_key is not None:
        args.key = os.environ.get(args.llm_key)
        if not args.key:
            # Not the name: it may be a key that was given in its place.
            p.error("--llm-key is not the name of an environment variable that holds a key")
