"""From arguments to what answers, for the commands that have it."""

from __future__ import annotations

import argparse

from dsm_mlx.chat.replies.local import LocalReply
from dsm_mlx.chat.replies.server import ServerReply
from dsm_mlx.cli.reply_args import SYSTEM
from dsm_mlx.files.text import load


def system_of(args: argparse.Namespace) -> str:
    """What tells a language model how to answer."""
    text = args.system if args.system_file is None else load(args.system_file).strip()
    return SYSTEM if text is None else text


def server_reply(args: argparse.Namespace) -> tuple[ServerReply, str]:
    """That of a server, which has been asked whether it can, and its model's name. Raises
    ReplyError."""
    options = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    if args.timeout is not None:
        options["timeout"] = args.timeout
    reply = ServerReply(args.llm_url, args.llm_model, key=args.key, **options)
    return reply, reply.check()


def local_reply(args: argparse.Namespace) -> LocalReply:
    """That of a model on this machine."""
    names = ("temperature", "max_tokens", "context", "seed")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    return LocalReply(args.llm, **given)
