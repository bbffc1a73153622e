"""The arguments of what answers, which two commands share. Imports nothing that takes a while."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from dsm_mlx.cli.arguments import not_negative, option, whole

KEY_VARIABLE = "DSM_MLX_LLM_KEY"
SYSTEM = (
    "You are talking with somebody. What you read was heard, so some words may be misheard, and "
    "what you write is spoken aloud. Answer in one to three short sentences of plain spoken "
    "language, without lists, Markdown, code or emoji."
)

# Shown by --help-all alone, where there is one.
RARE = ("max_tokens", "context", "seed", "timeout")
_OF_SERVER = ("llm_model", "llm_key", "timeout")
_OF_LOCAL = ("context", "seed")
_OF_MODEL = ("system", "system_file", "temperature", "max_tokens")


def add_replies(group: argparse._ArgumentGroup) -> None:
    """A language model on this machine, or of a server, and how it answers."""
    group.add_argument(
        "--llm", metavar="MODEL", help="a folder or hub id of mlx-lm's (needs dsm-mlx[chat])"
    )
    group.add_argument(
        "--llm-url", metavar="URL", help="an OpenAI-compatible server: Ollama, LM Studio, …"
    )
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


def check_replies(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End with a message where they contradict each other. Sets `key`: the one to show a server."""
    for names, allowed, whose in (
        (_OF_SERVER, args.llm_url, "a server: it needs --llm-url"),
        (_OF_LOCAL, args.llm, "a model on this machine: it needs --llm"),
        (_OF_MODEL, args.llm or args.llm_url, "a language model: it needs --llm or --llm-url"),
    ):
        for name in names:
            if not allowed and getattr(args, name) is not None:
                p.error(f"{option(name)} concerns {whose}")
    if args.system is not None and args.system_file is not None:
        p.error("--system and --system-file say the same")
    if args.timeout == 0:
        p.error("--timeout 0 leaves no time for an answer")
    args.key = None
    if args.llm_key is not None:
        args.key = os.environ.get(args.llm_key)
        if not args.key:
            # Not the name: it may be a key that was given in its place.
            p.error("--llm-key is not the name of an environment variable that holds a key")
