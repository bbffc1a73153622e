"""The arguments of the stt command that concern archives. Imports nothing that takes a while."""

from __future__ import annotations

import argparse

from dsm_mlx.cli.arguments import option, whole

_OF_CLUSTERS = ("scheduler", "workers", "send_files")


def add_recursive(group: argparse._ArgumentGroup) -> None:
    """Folders of any size."""
    group.add_argument("--recursive", action="store_true", help="with the folders in folders")


def add_cluster(group: argparse._ArgumentGroup) -> None:
    """Who hears them."""
    group.add_argument(
        "--scheduler", metavar="URL", help="hear on its workers: Dask's, such as tcp://HOST:8786"
    )
    group.add_argument(
        "--workers", type=whole(1), metavar="N", help="hear in so many processes of this machine"
    )
    group.add_argument(
        "--send-files", action="store_true", help="to workers that do not see the files"
    )


def check_archive(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Make `args.archive`: whether there is one, whose files are not looked for yet, and
    `args.cluster`, whether workers hear it."""
    args.cluster = bool(args.scheduler or args.workers)
    args.archive = args.recursive or args.cluster
    if args.send_files and not args.scheduler:
        p.error("--send-files is for the workers of a --scheduler, which is missing")
    if args.scheduler and args.workers:
        p.error("give --scheduler or --workers, not both")
    if not args.archive:
        return
    given = [name for name in (*_OF_CLUSTERS, "recursive") if getattr(args, name)]
    first = option(given[0])
    if args.mic or "-" in args.files:
        p.error(f"{first} is for files and folders")
    if not args.output_dir:
        p.error(f"{first} writes files: it needs --output-dir")
    if args.cluster and args.server:
        p.error(f"{first} needs models on its workers, and cannot go with --server")
    if args.scheduler and args.batch:
        p.error("--batch is what each worker was started with: dask worker URL --nthreads N")
