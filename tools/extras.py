#!/usr/bin/env python
"""What dsm_mlx and each of its extras weigh, installed here with all that they need.

    python tools/extras.py                  every extra for users: README.md has its table
    python tools/extras.py server chat      these

Each is installed by pip into a folder that goes again, which needs the network and some minutes.
The table goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from importlib.metadata import metadata
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dsm_mlx.cli.common import exit_status

ROOT = Path(__file__).parents[1]
DEVELOPERS = {"test", "docs", "reference", "train"}  # extras that are not for users


class Installed(NamedTuple):
    """Bytes of all files, and the names of the packages."""

    size: int
    packages: set[str]


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    known = sorted(set(metadata("dsm-mlx").get_all("Provides-Extra") or ()) - DEVELOPERS)
    p = argparse.ArgumentParser(
        prog="python tools/extras.py", description="What dsm_mlx and its extras weigh."
    )
    p.add_argument("extras", nargs="*", metavar="EXTRA", help=", ".join(known))
    args = p.parse_args(argv)
    if unknown := sorted(set(args.extras) - set(known)):
        p.error(f"{', '.join(unknown)}: expected {', '.join(known)}")
    return exit_status(lambda: _run(args.extras or known))


def _run(extras: list[str]) -> int:
    alone = installed("")
    print(f"dsm_mlx with all that it needs: {alone.size / 1e6:.0f} MB\n")
    print("| extra | MB more | packages more |\n|---|---|---|", flush=True)
    for extra in tqdm(extras, "installing", disable=None):
        both = installed(f"[{extra}]")
        more = (both.size - alone.size) / 1e6
        print(f"| `{extra}` | {more:.0f} | {len(both.packages - alone.packages)} |", flush=True)
    return 0


def installed(extra: str) -> Installed:
    """extra: such as `[server]`, or ""."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        done = subprocess.run(
            [*pip, "--target", folder, f"{ROOT}{extra}"],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise OSError(f"pip install {extra} failed: {done.stderr.strip().splitlines()[-1]}")
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
        return Installed(size, {p.name.partition("-")[0] for p in Path(folder).glob("*.dist-info")})


if __name__ == "__main__":
    sys.exit(main())
