"""How much memory converting an official shape takes. By hand: some minutes, and some disk.

    python tests/reference/check_memory.py [--model stt-2.6b-en] [--lora RANK] [--folder DIR]
        [--load] [-- FLAGS]

Writes a checkpoint of that shape in the PyTorch layout, its weights a hole in the file (zeros
that take no disk), converts it with FLAGS (default: -q) in a process of its own, and prints that
process's peak beside the largest group of tensors that belong together. With --lora a LoRA of that
rank for every linear map is fused. With --load the model is loaded instead, in bfloat16, and MLX's
own peak is printed.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import golden as fixtures  # noqa: E402

from dsm_mlx.lm import layout as lm_layout  # noqa: E402
from dsm_mlx.loading.checkpoint import Checkpoint  # noqa: E402
from dsm_mlx.loading.lora import linear_files  # noqa: E402

SIZES = {"F32": 4, "BF16": 2}
WITHOUT_MLX = [sys.executable, "-c", "import mlx.nn, tqdm, dsm_mlx.loading.checkpoint"]


def write_hollow(path: Path, tensors: dict) -> None:
    """A safetensors file of these shapes whose data is a hole."""
    header, end = {}, 0
    for name, (shape, dtype) in tensors.items():
        start, end = end, end + math.prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + end)


def make(folder: Path, model: str) -> Path:
    config = fixtures.official_config(model)
    folder.mkdir()
    write_hollow(folder / config["moshi_name"], fixtures.manifests()[model])
    write_hollow(folder / config["mimi_name"], fixtures.manifests()["mimi"])
    small = fixtures.CHECKPOINTS / "tokenizers/tokenizer_en_audio_80.model"
    shutil.copy(small, folder / config["tokenizer_name"])
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def write_lora(folder: Path, rank: int) -> Path:
    """A LoRA of the model there, in the form that joins sets of weights."""
    model = Checkpoint.find(folder, None).outline_lm().model
    tensors: dict[str, tuple] = {}
    for file, (shape, sets) in linear_files(model, lm_layout.layout_of(model, "pytorch")).items():
        start = re.sub(r"[._]weight$", "", file)
        tensors[f"{start}.lora_A.weight"] = ([sets * rank, shape[1]], "BF16")
        tensors[f"{start}.lora_B.weight"] = ([shape[0], rank], "BF16")
    write_hollow(folder / "lora.safetensors", tensors)
    return folder / "lora.safetensors"


def largest_group(folder: Path) -> int:
    """Bytes of the largest group of tensors that make up one parameter, or that one makes up."""
    outline = Checkpoint.find(folder, None).outline_lm()
    tensors = outline.header.tensors
    return max(
        sum(math.prod(shape) * SIZES[tensors[name].dtype] for name, shape in group.files.items())
        for group in outline.layout
    )


def peak_of(command: list[str]) -> int:
    """Bytes resident at most, of the largest child so far."""
    subprocess.run(command, check=True)
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


def load(source: Path, lora: Path | None) -> None:
    """Load the model there, and print what that takes beside its weights."""
    import mlx.core as mx

    mx.set_default_device(mx.cpu)
    mx.set_cache_limit(0)
    checkpoint = Checkpoint.find(source, None, lora=lora)
    model = checkpoint.load_lm(dtype="bfloat16")
    weights, peak = mx.get_active_memory(), mx.get_peak_memory()
    print(f"{model.config.dim} wide: {weights / 1e6:.0f} MB of weights, ", end="")
    print(f"{(peak - weights) / 1e6:.0f} MB beside them while loading")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="stt-2.6b-en")
    parser.add_argument("--folder", type=Path, help="where there is room for the result")
    parser.add_argument("--lora", type=int, metavar="RANK")
    parser.add_argument("--load", action="store_true")
    parser.add_argument("flags", nargs="*", default=["-q"], help="for dsm-convert")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=args.folder))
    try:
        source = make(folder / "source", args.model)
        lora = write_lora(source, args.lora) if args.lora else None
        if args.load:
            load(source, lora)
            return 0
        largest, idle, start = largest_group(source), peak_of(WITHOUT_MLX), time.perf_counter()
        convert = [sys.executable, "-m", "dsm_mlx.convert", str(source), str(folder / "new")]
        given = ["--lora", str(lora)] if lora else []
        peak = peak_of([*convert, *args.flags, *given])
        seconds = time.perf_counter() - start
        written = sum(file.stat().st_size for file in (folder / "new").iterdir())
    finally:
        shutil.rmtree(folder)
    print(f"{args.model} {' '.join(args.flags)}: {written / 1e9:.2f} GB in {seconds:.0f} s")
    print(f"largest group {largest / 1e6:.0f} MB; resident at most {peak / 1e6:.0f} MB, of which")
    print(f"{idle / 1e6:.0f} MB before anything is read: {peak / largest:.2f} times the group")
    return 0


if __name__ == "__main__":
    sys.exit(main())
