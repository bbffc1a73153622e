#!/usr/bin/env python
"""Check without a Mac that every compiled step can run on Metal; see docs/metal.md.

    pip download --no-deps --only-binary=:all: --platform macosx_15_0_arm64 mlx-metal==0.32.4
    python tools/metal.py --wheel mlx_metal-0.32.4-py3-none-macosx_15_0_arm64.whl
    python tools/metal.py stt-1b --bits 4            one shape, without a look at what ships

Reads the graphs of the steps of one stream's frame; nothing is computed. Prints tables in Markdown,
then what is wrong. The exit status is 1 if anything is.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import mlx.core as mx
from metal_audit import names, report
from metal_audit.steps import OFFICIAL, TINY, of_shape

from dsm_mlx.cli.common import exit_status

SHAPES = [*OFFICIAL, *TINY]


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    return exit_status(lambda: audit(options))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shapes", nargs="*", choices=[*SHAPES, []], metavar="SHAPE", help="all")
    parser.add_argument("--bits", type=int, choices=(4, 8), help="also bfloat16 if left out")
    shipped = parser.add_mutually_exclusive_group()
    shipped.add_argument("--wheel", type=Path, help="of mlx-metal, whose kernels are looked up")
    shipped.add_argument("--metallib", type=Path, help="an mlx.metallib instead of a wheel")
    return parser.parse_args(arguments)


def audit(options: argparse.Namespace) -> int:
    shipped = None
    if options.wheel:
        shipped = names.of_wheel(options.wheel)
    elif options.metallib:
        shipped = names.of_metallib(options.metallib)
    audits = {}
    for shape in options.shapes or SHAPES:
        for title, bits in _precisions(shape, options.bits):
            print(title, file=sys.stderr)
            audits[title] = of_shape(shape, bits)
    print(f"MLX {mx.__version__} traced", end="; ")
    if shipped is None:
        print("not checked: whether the kernels ship (give --wheel or --metallib)")
    else:
        print(f"{len(shipped)} kernels in {(options.wheel or options.metallib).name}")
    tables = report.summary(audits, shipped), report.beside(audits), report.attention(audits)
    for table in (*tables, report.primitives(audits)):
        print(f"\n{table}")
    wrong = report.findings(audits, shipped)
    print("", *wrong or ["Nothing is wrong."], sep="\n")
    return bool(wrong)


def _precisions(shape: str, bits: int | None) -> list[tuple[str, int | None]]:
    if shape in TINY:
        return [(shape, None)]
    every = {"bf16": None, "q4": 4, "q8": 8}
    return [(f"{shape} {name}", n) for name, n in every.items() if bits in (None, n)]


if __name__ == "__main__":
    sys.exit(main())
