"""tools/evaluate.py MODEL --set: a model on recordings of people, and its curves."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import outputs

import dsm_mlx
from dsm_mlx.audio import read
from dsm_mlx.convert.job import Wanted, convert
from dsm_mlx.convert.recipes import RECIPES
from dsm_mlx.convert.source import Source
from evaluation import points, report, roundtrip, speed
from evaluation.hearing import hear
from evaluation.points import Model, Point
from evaluation.saying import say
from evaluation.score import Score
from evaluation.scoring import Scorer
from evaluation.sets import Item, Set, find
from evaluation.similarity import Embedder, Likeness, available
from evaluation.tables import Table, worst

_PLAIN = Point()


def run(args: argparse.Namespace, audio: Path, texts: tuple[Path, list[str]]) -> int:
    """Measure and print, also what is known when something goes wrong.

    audio: a folder of recordings that a model hears where no set is given. texts: a file, and what
    a model says of it where none is given.
    """
    if args.json:
        outputs.check(args.json, "--json")
    if args.plot:
        args.plot = outputs.check_plot(args.plot, "--plot")
    job = Job(args, audio, texts)
    try:
        job.measure()
    finally:
        for part in job.shown():
            print(part, flush=True)
    for table in job.tables:
        if args.plot and table.axis:
            path = args.plot.with_stem(f"{args.plot.stem}-{table.name}")
            table.draw(path, f"{args.models[0]}: {', '.join(s.name for s in job.sets)}")
    if args.json:
        rows = {table.name: table.plain() for table in job.tables}
        outputs.save(args.json, report.as_json(rows, job.about, "tables") + "\n")
    return 0


class Job:
    """One model, its sets, and what is asked for; `tables` grow while it measures."""

    def __init__(self, args: argparse.Namespace, audio: Path, texts: tuple[Path, list[str]]):
        self._args, self._model = args, args.models[0]
        self._kind = Source.find(self._model, kind=args.kind).kind
        self._check()
        self._scorers: dict[str, Scorer] = {}
        self.sets = self._found(audio, texts)
        self.tables: list[Table] = []
        self._likeness = Likeness(Embedder(), read(args.like)) if args.like else None

    def _check(self) -> None:
        """ValueError for what does not go together."""
        args = self._args
        other = next((name for name, _ in args.curve or () if name != "codebooks"), None)
        if args.codec and other:
            raise ValueError(f"--codec has one curve, of codebooks ({other} is none)")
        if args.like and (args.codec or self._kind != "tts"):
            raise ValueError("--like needs a model that speaks")

    def _found(self, audio: Path, texts: tuple[Path, list[str]]) -> list[Set]:
        """The sets, each with what counts its words."""
        args = self._args
        if args.set:
            sets = [find(name, args.root) for name in args.set]
        elif self._kind == "tts":
            file, lines = texts
            sets = [Set(file.name, [Item(f"line {i}", line) for i, line in enumerate(lines, 1)])]
        else:
            sets = [find(str(audio))]
        for one in sets:
            self._scorers[one.name] = Scorer(args.language or one.language)
        return [one.spread(args.count) for one in sets]

    @property
    def about(self) -> str:
        """In words, what all was measured on."""
        return "; ".join(
            f"{one.name}: {len(one.items)} recordings, {self._scorers[one.name].name}"
            + (f" ({one.note})" if one.note else "")
            for one in self.sets
        )

    def shown(self) -> Iterator[str]:
        """All that is known, for people to read."""
        tables = [(table, text) for table in self.tables if (text := table.shown())]
        if tables:
            yield self.about + "\n"
        for table, text in tables:
            yield text + "\n"
            if not table.axis:
                for score in table.rows:
                    if text := worst(score, self._args.worst):
                        yield text + "\n"

    # ---- what is measured

    def measure(self) -> None:
        if self._args.codec:
            self._codec()
            return
        with self._opened(_PLAIN) as model, self._listener(model) as listener:
            curves = [points.curve(*asked, model) for asked in self._args.curve or ()]
            if not curves:
                self._fill(self._table("sets"), _PLAIN, model, listener)
            for curve in curves:
                table = self._table(curve.name, curve.axis)
                for point in curve.points:
                    if curve.name == points.ROWS:
                        table.rows.append(self._speed(int(point.label)))
                        continue
                    with self._opened(point) as changed:
                        self._fill(table, point, changed, listener)

    def _speed(self, rows: int) -> dict:
        return speed.measured(self._model, self._kind, rows, self._args.dtype)

    def _table(self, name: str, axis: str = "") -> Table:
        self.tables.append(Table(name, axis=axis))
        return self.tables[-1]

    def _fill(self, table: Table, point: Point, model: Model, listener: Model) -> None:
        for one in self.sets:
            score = Score(one, self._scorers[one.name], point, self._kind == "tts")
            table.rows.append(score)
            if self._kind == "tts":
                args = self._args
                say(score, model, listener, args.voice, args.batch, self._likeness)
            else:
                hear(score, model, self._args.batch)

    def _codec(self) -> None:
        """The codec of the model; what is left of the sound is heard by --stt, or the model."""
        args = self._args
        values = next((values for name, values in args.curve or () if name == "codebooks"), ())
        codec = dsm_mlx.load_codec(self._model)
        name = args.stt or (self._model if self._kind == "stt" else "tiny")
        table = self._table("codebooks", "codebooks")
        embed = Embedder() if available() else None
        with dsm_mlx.load_stt(name, dtype=args.dtype) as stt:
            for one in self.sets:
                counts = points.counts(values, codec.codebooks)
                kept = roundtrip.scores(codec, counts, one, self._scorers[one.name])
                table.rows += [each.score for each in kept]
                roundtrip.send(kept, codec, stt, args.batch, embed)

    # ---- models

    @contextmanager
    def _opened(self, point: Point) -> Iterator[Model]:
        """The model as a point has it."""
        load = dsm_mlx.load_tts if self._kind == "tts" else dsm_mlx.load_stt
        with ExitStack() as stack:
            model = self._model
            if point.recipe:
                model = stack.enter_context(tempfile.TemporaryDirectory())
                source = Source.find(self._model, kind=self._kind)
                convert(source, Path(model), Wanted(recipe=RECIPES[point.recipe], dequantize=True))
            yield stack.enter_context(load(model, dtype=self._args.dtype, **point.load))

    @contextmanager
    def _listener(self, model: Model) -> Iterator[Model]:
        """Who hears what a model says; a model that hears does so itself."""
        if self._kind == "stt":
            yield model
            return
        with dsm_mlx.load_stt(self._args.stt or "tiny") as stt:
            yield stt
