"""The commands with options and files that are not what they should be."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from dsm_mlx.cli import convert, speak, transcribe
from fuzzing.case import Left
from fuzzing.mutations import TEXTS, spoilt

_HEAR = (
    "--model", "--delay", "--bits", "--output-format", "--output-dir", "--batch", "--rate",
    "--encoding", "--temperature", "--seed", "--quiet", "-", "--no-such", "--max-line-width",
)  # fmt: skip
_SAY = (
    "--model", "--voice", "--out", "--words", "--temperature", "--cfg", "--seed", "--bits", "-",
    "--codebooks", "--no-such", "--list-voices", "--pace", "--max-seconds", "--text-file",
)  # fmt: skip
_TURN = (
    "-q", "--q-bits", "--q-group-size", "--q-mode", "--recipe", "--layout", "--dtype",
    "--overwrite", "--inspect", "--voices", "--no-such",
)  # fmt: skip


def attempt(rng: random.Random, corpus: Path, folder: Path) -> None:
    """A status of 0, 1 or 2, whatever is asked for, no traceback, and no file of what failed."""
    command, arguments = _made(rng, corpus, folder)
    there = set(folder.rglob("*"))
    out, err = _Text(), _Text()
    before, sys.stdin = sys.stdin, _Text(rng.randbytes(50))
    try:
        with redirect_stdout(out), redirect_stderr(err):
            try:
                status = command(arguments)
            except SystemExit as error:
                status = error.code
    finally:
        sys.stdin = before
    said = err.buffer.getvalue().decode(errors="replace")
    if status not in (0, 1, 2) or "Traceback" in said:
        raise RuntimeError(f"{arguments}: status {status}: {said[-1500:]}")
    more = sorted(map(str, set(folder.rglob("*")) - there))
    partly = command is transcribe.main or "--max-seconds" in arguments  # 1: not all was done
    if more and (status == 2 or (status == 1 and not partly)):
        raise Left(f"{arguments}: status {status}, and there are {more}: {said[-1500:]}")


class _Text(io.TextIOWrapper):
    def __init__(self, data: bytes = b""):
        super().__init__(io.BytesIO(data), encoding="utf-8", errors="replace", write_through=True)


def _made(rng: random.Random, corpus: Path, folder: Path) -> tuple[Callable, list[str]]:
    sound = folder / rng.choice(("one.wav", "it's %s.wav", "a\nb.wav"))
    sound.write_bytes((corpus / "sounds/s16.wav").read_bytes())
    if rng.random() < 0.3:
        sound.write_bytes(spoilt(sound.read_bytes(), rng))
    which = rng.randrange(3)
    if which == 0:
        start = ["--model", str(corpus / "stt"), str(sound)]
        return transcribe.main, start + _options(rng, _HEAR, folder)
    if which == 1:
        start = ["--model", str(corpus / "tts"), "--out", str(folder / "said.wav"), "Hi"]
        return speak.main, start + _options(rng, _SAY, folder)
    start = [str(corpus / rng.choice(("stt", "tts"))), str(folder / "made")]
    return convert.main, start + _options(rng, _TURN, folder)


def _options(rng: random.Random, names: tuple[str, ...], folder: Path) -> list[str]:
    found: list[str] = []
    for _ in range(rng.randrange(1, 4)):
        found.append(rng.choice(names))
        if rng.random() < 0.8:
            good = ("8", "4", "0.5", "wav", "srt", "all", str(folder / "x"), str(folder / "x.wav"))
            found.append(rng.choice((*good, *(t for t in TEXTS if "\x00" not in t))))
    return found
