"""What the captions command does: microphone -> words in a window."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from typing import Any

import dsm_mlx
from dsm_mlx.audio.devices import find_device
from dsm_mlx.cli import common, remote
from dsm_mlx.cli.arguments import option
from dsm_mlx.cli.captions_args import OF_STREAM
from dsm_mlx.cli.models import listing
from dsm_mlx.desktop.listening import Choice, Listener, Load
from dsm_mlx.desktop.looks import SIZE
from dsm_mlx.loading.local import local_models

NO_TK = (
    "the captions window needs Tk, which this Python was installed without (Debian, Ubuntu: apt "
    "install python3-tk; Homebrew: brew install python-tk; python.org's and uv's Pythons have it)"
)


def run(args: argparse.Namespace) -> int:
    """The command behind `dsm_mlx.cli.captions.main`; errors are the caller's to tell of."""
    if show := listing(args):
        return show()
    choice = _check_world(args)
    return (_menu_bar if args.menu_bar else _window)(args, choice)


def _window(args: argparse.Namespace, choice: Choice) -> int:
    try:
        import tkinter  # noqa: F401 - which some Pythons come without
    except ImportError:
        raise ValueError(NO_TK) from None
    from dsm_mlx.desktop.window import Settings, Window

    settings = Settings(
        choice,
        models=_models(args),
        listen=not args.wait,
        on_top=not args.not_on_top,
        look=args.contrast or "dark",
        size=args.text_size or SIZE,
    )
    Window(Listener(_load(args, choice.model)), settings).run()
    return 0


def _menu_bar(args: argparse.Namespace, choice: Choice) -> int:
    from dsm_mlx.desktop.menubar import MenuBar

    try:
        bar = MenuBar(
            Listener(_load(args, choice.model)),
            choice,
            models=_models(args),
            listen=not args.wait,
            open_window=lambda: _start_window(args),
        )
    except ImportError as error:
        raise ValueError(
            f"--menu-bar needs macOS and the package {error.name} (pip install 'dsm-mlx[menubar]')"
        ) from None
    bar.run()
    return 0


def _start_window(args: argparse.Namespace) -> None:
    """The captions window, as this command was called, in a process of its own."""
    names = (*OF_STREAM, "device", "contrast", "text_size")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    command = [sys.executable, "-m", "dsm_mlx.desktop"]
    command += [f"{option(name)}={value}" for name, value in given.items()]
    environment = dict(os.environ)
    if args.server:
        command.append(f"--server={args.server.url}")
        environment[remote.KEY_VARIABLE] = args.server.key  # not seen in ps
    subprocess.Popen(command + ["--not-on-top"] * args.not_on_top, env=environment)


def _check_world(args: argparse.Namespace) -> Choice:
    """Find what is needed, before a window says that it is not there."""
    if args.device is not None:
        find_device(args.device, "input")
    model = None
    if not args.server:
        model, _ = common.found_model(args.model, "stt", args.revision)
    return Choice(model, args.device, args.delay)


def _models(args: argparse.Namespace) -> list[str]:
    """Those to choose from: none where a server has one."""
    if args.server:
        return []
    names = [model.name for model in local_models() if model.kind == "stt"]
    return names if args.model in (None, *names) else [args.model, *names]


def _load(args: argparse.Namespace, first: str | None) -> Load:
    """What loads a model by its name. Options of a model count for the `first` one."""

    def load(name: str | None) -> tuple[str, Any]:
        if args.server:
            stt = remote.module("remote_stt").RemoteSpeechToText(args.server)
            return args.server.url, stt
        own = common.loading(args) if name == first else {"bits": args.bits}
        stt = dsm_mlx.load_stt(name, **own)
        return stt.info.name, stt

    return load
