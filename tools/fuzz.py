#!/usr/bin/env python
"""Hostile input of every kind, and what became of it.

    python tools/fuzz.py                        1000 cases
    python tools/fuzz.py --count 10000 --jobs 2
    python tools/fuzz.py --kind sounds --case 17 --keep FOLDER      one again, and its files

Every case is made from its kind, number and seed alone. It is fine, or refused by an error of ours;
all else is a fault: another error, a process that dies, more than 5 s, a file left behind, more
than 200 MB of memory. The table goes to stdout, faults to stderr, and the status is 1 if there
were any.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from fuzzing import campaign, case

from dsm_mlx.cli.common import exit_status


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    if options.serve:
        return case.serve(Path(options.serve))
    return exit_status(lambda: run(options))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Try hostile input of every kind.")
    add = parser.add_argument
    add("--count", type=int, default=1000, help="cases, of all kinds together (default: 1000)")
    add("--kind", choices=case.KINDS, action="append", help="only this kind; may be repeated")
    add("--case", type=int, metavar="N", help="this one of a kind, here and now")
    add("--seed", type=int, default=0, help="other cases of the same numbers (default: 0)")
    add("--keep", metavar="FOLDER", help="with --case: where its files stay")
    add("--jobs", type=int, default=1, help="processes at the same time (default: 1)")
    add("--serve", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.count < 1 or options.jobs < 1:
        parser.error("--count and --jobs must be 1 or more")
    if options.case is not None and len(options.kind or ()) != 1:
        parser.error("--case needs one --kind")
    if options.keep and options.case is None:
        parser.error("--keep needs --case")
    return options


def run(options: argparse.Namespace) -> int:
    kinds = tuple(options.kind or case.KINDS)
    if options.case is not None:
        found = campaign.one(kinds[0], options.case, options.keep, options.seed)
        print(f"{found.outcome}: {found.said}")
        return int(found.outcome not in case.GOOD)
    outcomes = campaign.play(kinds, options.count, options.jobs, options.seed)
    print(campaign.table(outcomes))
    return int(any(found.outcome not in case.GOOD for found in outcomes))


if __name__ == "__main__":
    sys.exit(main())
