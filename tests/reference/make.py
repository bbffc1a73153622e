"""Make the reference fixtures again; README.md says how. `--check` compares with what is here."""

import argparse
import importlib
import os
import sys
import tempfile
from pathlib import Path

# Read by torch and moshi when they are imported: eager, on one thread, so that runs agree.
os.environ |= {"NO_TORCH_COMPILE": "1", "NO_CUDA_GRAPH": "1", "OMP_NUM_THREADS": "1"}

HERE = Path(__file__).parent
# In this order: lora, trfs and mlx read what those before them wrote.
PARTS = ("mimi", "stt", "tts", "lora", "trfs", "mlx", "manifests")
FULL = ("mimi_full", "stt_full", "tts_full")  # in this order: all have the Mimi of mimi_full


def make(part: str, out: Path) -> None:
    module = importlib.import_module(f"gen_{part.removesuffix('_full')}")
    if part in FULL:
        # Too large for one thread, and not compared between runs.
        importlib.import_module("torch").set_num_threads(os.cpu_count())
        module.make_full(out)
    else:
        module.make(out)
    print("made", part, file=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=" ".join((*PARTS, *FULL, "full")))
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--check", action="store_true", help="write nothing here, compare")
    args = parser.parse_args()
    if unknown := set(args.parts) - {*PARTS, *FULL, "full"}:
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) if args.check else args.out
        for part in args.parts or PARTS:
            for one in FULL if part == "full" else (part,):
                make(one, out)
        if args.check:
            return importlib.import_module("compare").report(out, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
