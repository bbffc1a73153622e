"""What the serve command does."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from dsm_mlx import load_stt, load_tts
from dsm_mlx.cli.replies import local_reply, server_reply, system_of
from dsm_mlx.cli.serve_args import NO_MODEL
from dsm_mlx.serve.answers import Answerer


def run(args: argparse.Namespace) -> int:
    """The command behind `dsm_mlx.cli.serve.main`; errors are the caller's to tell of."""
    try:
        from dsm_mlx.serve.check import check
        from dsm_mlx.serve.models import Models
        from dsm_mlx.serve.options import ServerOptions
        from dsm_mlx.serve.run import serve

        if args.wyoming[1] is not None:
            import dsm_mlx.serve.wyoming.server  # noqa: F401 - before the models are loaded
    except ImportError as error:
        raise ValueError(
            f"the server needs the package {error.name} (pip install 'dsm-mlx[server]')"
        ) from None
    options = ServerOptions(
        host=args.host,
        port=args.port,
        unix_socket=args.unix_socket,
        keys=tuple(args.api_key),
        origins=tuple(args.allow_origin),
        wyoming_host=args.wyoming[0],
        wyoming_port=args.wyoming[1],
    )

    def load() -> Models:
        answering = _answerers(args)
        how = {"bits": args.bits, "max_streams": args.max_streams}
        stt = None if args.stt == NO_MODEL else load_stt(args.stt, lora=args.stt_lora, **how)
        tts = None if args.tts == NO_MODEL else load_tts(args.tts, lora=args.tts_lora, **how)
        return Models(stt, tts, answering)

    return serve(options, load, check if args.check else None)


def _answerers(args: argparse.Namespace) -> list[Answerer]:
    """Who answers in conversations, beside the echo. A server is asked before weights are read."""
    system, found = system_of(args), []
    if args.llm_url is not None:
        served, name = server_reply(args)
        found.append(Answerer(name, lambda: served, system))
    if args.llm is not None:
        kept = local_reply(args)  # whose weights those of all conversations share
        local = Answerer(Path(args.llm).name, partial(local_reply, args), system, kept.close)
        found.insert(0, local)
    return found
