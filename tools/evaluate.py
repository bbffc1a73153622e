#!/usr/bin/env python
"""How good a model is: beside the one that it was made from, and on recordings of people.

    python tools/evaluate.py                                every recipe on the bundled model
    python tools/evaluate.py ORIGINAL CONVERTED --audio FOLDER
    python tools/evaluate.py kyutai/tts-1.6b-en_fr --recipes q8 mixed-4 --stt stt-1b
    python tools/evaluate.py tiny --kind tts --recipes      the half of tiny that speaks
    python tools/evaluate.py tiny --paces                   it says 48 sentences at five paces

The first model is the reference: the others are given its tokens, and their logits compared with
its own. docs/convert.md tells what the columns mean. With --paces one model is compared with
itself, and docs/speaking.md has the table.

    python tools/evaluate.py tiny --set asterisk-en         words wrong, of people's voices
    python tools/evaluate.py stt-1b --set LibriSpeech/test-clean talks.stm calls.csv FOLDER
    python tools/evaluate.py tiny --set talks --curve delay codebooks=8,4 level --plot curves.svg
    python tools/evaluate.py tiny --set asterisk-en --codec  what the codec leaves of them
    python tools/evaluate.py tts-1.6b --set asterisk-fr --stt stt-1b        it says the texts

docs/figures.md tells of sets, scores and curves. What is known is printed even where more fails.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import outputs
from evaluation import arguments, comparable, pace, report, scores
from evaluation.listening import Listening, recordings
from evaluation.speaking import Speaking
from tqdm import tqdm

import dsm_mlx
from dsm_mlx.cli.common import exit_status
from dsm_mlx.convert.job import Wanted, convert
from dsm_mlx.convert.recipes import RECIPES
from dsm_mlx.convert.source import Source
from dsm_mlx.tts.pace import padding_of

_HERE = Path(__file__).parent
_AUDIO = _HERE.parent / "demos/audio"
_TEXTS = 4  # of sentences.txt, said by a text-to-speech model


def parser() -> argparse.ArgumentParser:
    return arguments.parser(_AUDIO)


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit status: 0, 1 (failed), 2 (usage), 130 (interrupted)."""
    p = parser()
    args = p.parse_args(argv)
    if arguments.scored(args):
        if len(args.models) != 1 or args.recipes is not None or args.paces is not None:
            p.error("--set, --curve and --codec are for one model, without --recipes and --paces")
        return exit_status(lambda: scores.run(args, _AUDIO, _texts(args)))
    if args.paces is not None:
        if len(args.models) != 1 or args.recipes is not None:
            p.error("--paces is for one model, without --recipes")
        return exit_status(lambda: _run_paces(args))
    if not args.models:
        args.models, args.recipes = ["tiny"], args.recipes or []
    if args.recipes is None and len(args.models) < 2:
        p.error("give a model to compare with the first, or --recipes")
    return exit_status(lambda: _run(args))


def _run(args: argparse.Namespace) -> int:
    if args.json:
        outputs.check(args.json, "--json")
    rows: list[dict] = []
    try:
        data = evaluate(args, rows)
    finally:
        if rows:
            print(report.table(rows), flush=True)
    if args.json:
        outputs.save(args.json, report.as_json(rows, data) + "\n")
    return 0


def _run_paces(args: argparse.Namespace) -> int:
    if args.json:
        outputs.check(args.json, "--json")
    file, texts = _texts(args)
    for value in args.paces:
        padding_of(value)  # which tells of one that cannot be, before the model is loaded
    rows: list[dict] = []
    try:
        with (
            dsm_mlx.load_tts(args.models[0], dtype=args.dtype) as tts,
            dsm_mlx.load_stt(args.stt or "tiny") as stt,
        ):
            paces = tqdm(args.paces or pace.PACES, "paces", disable=None)
            rows.extend(pace.judged(tts, stt, texts, args.voice, value) for value in paces)
    finally:
        if rows:
            print(report.table(rows, report.PACES), flush=True)
    if args.json:
        data = f"{len(texts)} texts of {file.name}"
        outputs.save(args.json, report.as_json(rows, data, "paces") + "\n")
    return 0


def evaluate(args: argparse.Namespace, rows: list[dict]) -> str:
    """Append a row of figures for each model as it is done; in words what all were measured on."""
    sources = [Source.find(model, kind=args.kind) for model in args.models]
    comparable.check(args.models, sources)
    judge, data = _speaking(args) if sources[0].kind == "tts" else _listening(args)
    names = [] if args.recipes is None else args.recipes or list(RECIPES)
    bar = tqdm(total=len(sources) + len(names), desc="models", disable=None)
    for model, source in zip(args.models, sources, strict=True):
        rows.append(_row(judge, model, source, args.dtype))
        bar.update()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            convert(sources[0], Path(folder), Wanted(recipe=RECIPES[name], dequantize=True))
            rows.append(_row(judge, folder, Source.find(folder), args.dtype, name))
        bar.update()
    bar.close()
    return data


def _listening(args: argparse.Namespace) -> tuple[Listening, str]:
    items = recordings(args.audio)
    known = sum(item.text is not None for item in items)
    return Listening(items), f"{len(items)} recordings, {known} with text"


def _speaking(args: argparse.Namespace) -> tuple[Speaking, str]:
    file, texts = _texts(args)
    texts = texts if args.text else texts[:_TEXTS]
    if args.stt:
        Source.find(args.stt, kind="stt")
    return Speaking(texts, args.voice, args.stt), f"{len(texts)} texts of {file.name}"


def _texts(args: argparse.Namespace) -> tuple[Path, list[str]]:
    file = args.text or _HERE / "sentences.txt"
    texts = [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if not texts:
        raise ValueError(f"{file}: holds no text")
    return file, texts


def _row(judge, model: str, source: Source, dtype: str | None, name: str | None = None) -> dict:
    size = sum(part.path.stat().st_size for part in (source.lm.outline_lm(), source.codec))
    shown = name or source.published_name
    return {"model": shown, "bytes": size, **judge.evaluate(model, dtype)}


if __name__ == "__main__":
    sys.exit(main())
