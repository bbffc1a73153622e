"""Scores as tables, pictures and plain values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from evaluation import published, report
from evaluation.pictures import Line, Panel, draw
from evaluation.score import Score

_WORDS = {
    "set": lambda row: row["set"],
    "": lambda row: row.get("point", ""),
    "level": lambda row: row["line"],
    "recordings": lambda row: _so_far(row["recordings"], row["of"]),
    "minutes": lambda row: f"{row['seconds'] / 60:.1f}",
    "words": lambda row: str(row["words"]),
    "words wrong": lambda row: report.percent(row["wer"]),
    "substituted": lambda row: str(row["substitutions"]),
    "left out": lambda row: str(row["deletions"]),
    "put in": lambda row: str(row["insertions"]),
    "right": lambda row: str(row["hits"]),
}
# Those that some rows have: the figure's key, and how it is shown.
_SOME = {
    "time error ms": ("time_error", lambda value: f"{1e3 * value:.0f}"),
    "time F1": ("time_f1", lambda value: f"{value:.2f}"),
    "time mIoU": ("time_miou", lambda value: f"{value:.2f}"),
    "kbit/s": ("bits_per_second", lambda value: f"{value / 1e3:.2f}"),
    "mel dB": ("mel_db", lambda value: f"{value:.1f}"),
    "voice": ("similarity", lambda value: f"{value:.2f}"),
    "published %": ("published", str),
}
_SPEED = {
    "streams": lambda row: str(row["rows"]),
    "real-time factor": lambda row: f"{row['real_time_factor']:.3f}",
    "frame ms": lambda row: f"{row['frame_ms']:.1f}",
    "p95 ms": lambda row: f"{row['frame_ms_p95']:.1f}",
}
_FIRST = {"first sound ms": lambda row: f"{row['first_sound_ms']:.0f}"}


@dataclass
class Table:
    """Rows of one kind: scores of sets, of the points of a curve, or figures of speed.

    axis: of its picture; "": it has none.
    """

    name: str
    rows: list[Score | dict] = field(default_factory=list)
    axis: str = ""

    def plain(self) -> list[dict]:
        """All figures in plain values, of scores with every recording."""
        return [
            row.row() | {"items": row.items} if isinstance(row, Score) else row for row in self.rows
        ]

    def shown(self) -> str:
        """Markdown, as far as it is known."""
        if self.rows and isinstance(self.rows[0], dict):
            first = "first_sound_ms" in self.rows[0]
            return report.table(self.rows, _SPEED | (_FIRST if first else {}))
        rows = [score.row() for score in self.rows if score.items]
        if not rows:
            return ""
        columns = {key or self.name: show for key, show in _WORDS.items()}
        if "point" not in rows[0]:
            del columns[self.name]
        if "line" not in rows[0]:
            del columns["level"]
        some = {
            title: (lambda row, key=key, show=show: "-" if (v := row.get(key)) is None else show(v))
            for title, (key, show) in _SOME.items()
            if any(row.get(key) is not None for row in rows)
        }
        return "\n".join([report.table(rows, columns | some), *_notes(rows)])

    def draw(self, path: Path, title: str) -> None:
        """The picture of a curve."""
        draw(path, title, self.axis, self._panels())

    def _panels(self) -> list[Panel]:
        if isinstance(self.rows[0], dict):
            x = [row["rows"] for row in self.rows]
            heights = {
                "real-time factor": "real_time_factor",
                "a frame takes, ms (p95)": "frame_ms_p95",
            }
            return [
                Panel(what, [Line(what, x, [row[key] for row in self.rows], [])])
                for what, key in heights.items()
            ]
        lines: dict[str, list[Score]] = {}
        for score in self.rows:
            name = ", ".join(filter(None, (score.set.name, score.point.line)))
            lines.setdefault(name, []).append(score)
        panels = {"words wrong, %": lambda row: row["wer"] and 100 * row["wer"]}
        for what, key in (("distance of mel spectra, dB", "mel_db"), ("time F1", "time_f1")):
            if any(key in score.row() for score in self.rows):
                panels[what] = lambda row, key=key: row.get(key)
        return [
            Panel(what, [_line(name, scores, height) for name, scores in lines.items()])
            for what, height in panels.items()
        ]


def _line(name: str, scores: Sequence[Score], height) -> Line:
    points = [score.point for score in scores]
    values = [height(score.row()) for score in scores]
    return Line(name, [p.x for p in points], values, [p.label for p in points])


def _so_far(done: int, of: int) -> str:
    return str(done) if done == of else f"{done} of {of}"


def _notes(rows: Sequence[dict]) -> list[str]:
    """Published figures that stand for more than one row, and the average of several sets."""
    notes = []
    if len({row["set"] for row in rows}) == len(rows) > 1:
        known = [row["wer"] for row in rows if row["wer"] is not None]
        mean = report.percent(sum(known) / len(known) if known else None)
        notes.append(
            f"mean of the sets: {mean} (published: short form {published.SHORT_FORM_AVERAGE}%, "
            f"long form {published.LONG_FORM_AVERAGE}%)"
        )
    if any("time_f1" in row for row in rows):
        times = ", ".join(f"{name} {value}" for name, value in published.WORD_TIMES.items())
        notes.append(f"word times, published, of other recordings: {times}")
    return notes


def worst(score: Score, count: int) -> str:
    """The recordings with most errors, and what was heard in them."""
    columns = {
        "errors": lambda item: f"{item['substitutions'] + item['deletions'] + item['insertions']}",
        "of words": lambda item: f"{item['hits'] + item['substitutions'] + item['deletions']}",
        "recording": lambda item: item["name"],
        "said": lambda item: _cut(item["said"]),
        "heard": lambda item: _cut(item["heard"]),
    }
    items = score.worst(count)
    return f"worst of {score.set.name}:\n{report.table(items, columns)}" if items else ""


def _cut(text: str, most: int = 60) -> str:
    text = " ".join(text.split()).replace("|", "/")
    return text if len(text) <= most else text[: most - 1] + "…"
