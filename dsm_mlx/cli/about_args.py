"""The arguments of `python -m dsm_mlx`. Imports nothing that takes a while: so does `--help`."""

from __future__ import annotations

import argparse

from dsm_mlx.cli.arguments import new_parser

EXAMPLES = """\
  %(prog)s
  %(prog)s --json > machine.json
"""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """What was asked for."""
    p = new_parser(
        "What this machine is, which sound devices and models it has, and what to type next. "
        "Nothing is loaded, downloaded or asked of the network.",
        EXAMPLES,
    )
    p.add_argument("--json", action="store_true", help="for programs, and for reports of faults")
    return p.parse_args(argv)
