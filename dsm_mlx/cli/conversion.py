"""The convert command: a checkpoint -> another one, quantised or in another layout.

docs/convert.md tells about recipes, layouts and what they cost.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dsm_mlx.cli.arguments import new_parser, option
from dsm_mlx.convert import recipes
from dsm_mlx.convert.belongings import check_replaceable
from dsm_mlx.convert.folder import write_folder
from dsm_mlx.convert.inspection import inspect
from dsm_mlx.convert.job import Wanted, convert
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.upload import check_repository, upload
from dsm_mlx.loading.options import DTYPES
from dsm_mlx.messages import say

EXAMPLES = """\
  %(prog)s kyutai/stt-2.6b-en stt-2.6b-q4 -q
  %(prog)s kyutai/tts-1.6b-en_fr my-voice --recipe mixed-4 --voices NAME
  %(prog)s --inspect stt-2.6b-q4
"""


def parser() -> argparse.ArgumentParser:
    """Of all that the command takes."""
    p = new_parser("Convert and quantise a DSM checkpoint.", EXAMPLES)
    p.add_argument("source", nargs="?", help="folder, hub id or short name such as stt-1b")
    p.add_argument("dest", nargs="?", type=Path, help="folder to write; must not exist yet")
    p.add_argument("--hf-path", metavar="SOURCE", help="the same as SOURCE")
    p.add_argument("--mlx-path", metavar="DEST", type=Path, help="the same as DEST")
    p.add_argument("--revision", help="of the hub repository")
    p.add_argument(
        "--kind", choices=("stt", "tts"), help="which half of tiny is SOURCE (default: stt)"
    )
    p.add_argument(
        "--overwrite",
        action="store_true",
        help="replace the checkpoint in DEST when all is written",
    )
    p.add_argument("--lora", metavar="FILE", help="a LoRA to fuse into the model, or hf://…")
    p.add_argument("--layout", choices=("mlx", "pytorch"), default="mlx", help="default: mlx")
    p.add_argument("--dtype", choices=tuple(DTYPES), help="of what is not quantised")
    p.add_argument("-d", "--dequantize", action="store_true", help="undo a quantisation first")
    quantise = p.add_argument_group("quantisation")
    quantise.add_argument("-q", "--quantize", action="store_true", help="everything alike")
    quantise.add_argument("--q-bits", type=int, choices=recipes.BITS, help="default: 4")
    quantise.add_argument("--q-group-size", type=int, choices=recipes.GROUP_SIZES)
    quantise.add_argument("--q-mode", choices=tuple(recipes.MODES), default=None)
    quantise.add_argument(
        "--recipe", choices=tuple(recipes.RECIPES), help="see docs/convert.md", metavar="NAME"
    )
    codec = p.add_argument_group("codec and voices")
    codec.add_argument("--codec-dtype", choices=tuple(DTYPES), help="of the codec on disk")
    codec.add_argument(
        "--codec-bits", type=int, choices=recipes.BITS, help="quantise the codec's transformers"
    )
    codec.add_argument(
        "--voices",
        nargs="*",
        metavar="VOICE",
        help="take along only these: names, files, hf://…; default: all beside the model",
    )
    p.add_argument("--upload-repo", metavar="OWNER/NAME", help="put DEST on the hub as well")
    p.add_argument("--inspect", metavar="PATH", help="say what a checkpoint is, and exit")
    return p


def run(argv: list[str] | None) -> int:
    """The command behind `dsm_mlx.cli.convert.main`; errors are the caller's to tell of."""
    p = parser()
    args = p.parse_args(argv)
    _check(p, args)
    return (_inspect if args.inspect else _convert)(args)


def _check(p: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    for place, alias in (("source", "hf_path"), ("dest", "mlx_path")):
        if getattr(args, place) and getattr(args, alias):
            p.error(f"give {place.upper()} or {option(alias)}, not both")
        setattr(args, place, getattr(args, place) or getattr(args, alias))
    if args.inspect:
        if args.source or args.dest:
            p.error("--inspect stands alone")
        return
    if not args.source or not args.dest:
        p.error("give SOURCE and DEST")
    if args.recipe and args.quantize:
        p.error("give -q or --recipe, not both")
    given = args.q_bits or args.q_group_size or args.q_mode
    if given and not args.quantize:
        p.error("--q-bits, --q-group-size and --q-mode need -q")
    fixed = recipes.MODES.get(args.q_mode)
    for value, expected, flag in zip(
        (args.q_bits, args.q_group_size), fixed or (), ("--q-bits", "--q-group-size"), strict=False
    ):
        if value not in (None, expected):
            p.error(f"{flag} {value} does not go with {args.q_mode} (expected {expected})")

    if args.upload_repo and not check_repository(args.upload_repo):
        p.error(f"--upload-repo {args.upload_repo}: expected OWNER/NAME")


def _recipe(args: argparse.Namespace) -> recipes.Recipe | None:
    if args.recipe:
        return recipes.RECIPES[args.recipe]
    if not args.quantize:
        return None
    bits, group_size = recipes.MODES.get(args.q_mode) or (args.q_bits or 4, args.q_group_size)
    return recipes.blanket(bits, group_size, args.q_mode or "affine")


def _inspect(args: argparse.Namespace) -> int:
    print("\n".join(inspect(Source.find(args.inspect, args.revision, args.kind, args.lora))))
    return 0


def _convert(args: argparse.Namespace) -> int:
    wanted = Wanted(
        recipe=_recipe(args),
        dequantize=args.dequantize,
        dtype=args.dtype,
        layout=args.layout,
        codec_dtype=args.codec_dtype,
        codec_bits=args.codec_bits,
        voices=args.voices,
    )
    source = Source.find(args.source, args.revision, args.kind, args.lora)
    if args.dest.resolve() in (source.folder, *source.folder.parents):
        raise ValueError(f"{args.dest}: holds the source (give another folder)")
    write_folder(
        args.dest,
        fill=lambda folder: convert(source, folder, wanted),
        check=lambda folder: check_replaceable(folder, args.overwrite),
    )
    say(f"wrote {args.dest}")
    if args.upload_repo:
        _upload(args.dest, args.upload_repo)
    return 0


def _upload(folder: Path, repository: str) -> None:
    try:
        say(f"uploaded to {upload(folder, repository)}")
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted; {folder} is written and complete, {repository} may not be"
        ) from None
