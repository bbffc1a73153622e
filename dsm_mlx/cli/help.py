"""Help on two screens: what is rarely asked for is shown on demand."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any, NoReturn


class Parser(argparse.ArgumentParser):
    """A parser whose `--help` leaves out the arguments that are called as those in `rare`;
    `--help-all`, which there is if there are any, shows them, too."""

    def __init__(self, rare: Iterable[str], **options: Any) -> None:
        super().__init__(**options)
        self._rare = frozenset(rare)
        if self._rare:
            self.add_argument(
                "--help-all", action=_HelpAll, help="show the rarely used options, too, and exit"
            )

    def error(self, message: str) -> NoReturn:
        """The usage and one line, with the option that may have been meant; status 2."""
        if unknown := re.match(r"unrecognized arguments: (?:.* )?(--[\w-]+)", message):
            from dsm_mlx.files.hub import did_you_mean

            message += did_you_mean(unknown[1], self._option_string_actions)
        super().error(message)

    def format_help(self) -> str:
        """Without what is rare."""
        hidden = [(action, action.help) for action in self._actions if action.dest in self._rare]
        try:
            for action, _ in hidden:
                action.help = argparse.SUPPRESS
            return self.format_help_all()
        finally:
            for action, text in hidden:
                action.help = text

    def format_help_all(self) -> str:
        return super().format_help()


class _HelpAll(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        assert isinstance(parser, Parser)
        print(parser.format_help_all(), end="")
        parser.exit()
