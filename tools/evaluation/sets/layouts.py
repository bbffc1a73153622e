"""Sets in the layouts that people have; which one it is, is found by looking."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from dsm_mlx.checks import check_number
from dsm_mlx.files.text import load
from dsm_mlx.messages import reason, shown
from evaluation import listening
from evaluation.sets.item import SUFFIXES, Item, Set, Timed, beside

_IGNORED = "ignore_time_segment_in_scoring"
_LABEL = re.compile(r"<(?!unk>)[^>]*>")  # of a segment, before its text
_EXPECTED = (
    "a LibriSpeech tree, .stm, CSV or JSONL with audio and text, or sound files with NAME.txt"
)


def find(path: Path) -> Set:
    """The set in a file or a folder. ValueError or OSError that names the file and the line."""
    if path.is_dir():
        read, files = _of_folder(path)
    else:
        read, files = _of_file(path), [path]
    items = [item for file in files for item in read(file)]
    if not items:
        raise ValueError(f"{path}: holds no recordings with a text (expected {_EXPECTED})")
    return Set(str(path), items)


def _of_folder(path: Path) -> tuple[Callable[[Path], Iterator[Item]], Sequence[Path]]:
    for read, pattern in ((_librispeech, "*.trans.txt"), (_stm, "*.stm")):
        if files := sorted(path.rglob(pattern)):
            return read, files
    return _with_texts, [path]


def _of_file(path: Path) -> Callable[[Path], Iterator[Item]]:
    if path.suffix.lower() in SUFFIXES:
        return _with_texts
    first = next((line for line in load(path).splitlines() if line.strip()), "")
    if first.lstrip().startswith("{"):
        return _jsonl
    if {"audio", "text"} <= set(next(csv.reader([first]), [])):
        return _csv
    if first.startswith(";;") or len(first.split(None, 5)) > 4:
        return _stm
    raise ValueError(f"{path}, line 1: no evaluation set (expected {_EXPECTED})")


def _with_texts(path: Path) -> Iterator[Item]:
    """NAME.txt beside NAME.wav; sound without a text is left out."""
    for one in listening.recordings([path]):
        if one.text is not None and one.text.strip():
            yield Item(one.path.name, one.text.strip(), one.path)


def _librispeech(path: Path) -> Iterator[Item]:
    """Lines of a name and a text, and beside them NAME.flac."""
    for number, line in _lines(path):
        name, _, text = line.strip().partition(" ")
        sound = beside(path.parent / name)
        if sound is None:
            raise ValueError(f"{path}, line {number}: there is no sound file {name}.flac beside it")
        if not text.strip():
            raise ValueError(f"{path}, line {number}: {name} has no text")
        yield Item(name, text.strip(), sound)


def _stm(path: Path) -> Iterator[Item]:
    """Segments of long files: file, channel, speaker, start, end, label and text a line."""
    for number, line in _lines(path):
        if line.startswith(";;"):
            continue
        name, *fields = line.split(None, 5)
        try:
            start, end = float(fields[2]), float(fields[3])
            good = 0 <= start < end
        except (IndexError, ValueError):
            good = False
        if not good:
            raise ValueError(
                f"{path}, line {number}: {shown(line)} (expected file, channel, speaker, start, "
                "end and text, with 0 <= start < end)"
            )
        text = _LABEL.sub("", fields[4], count=1).strip() if len(fields) > 4 else ""
        if not text or text == _IGNORED:
            continue
        sound = beside(path.parent / name, *(path.parents[1] / kind for kind in ("sph", "wav")))
        if sound is None:
            raise ValueError(
                f"{path}, line {number}: there is no sound file {name} beside it or in ../sph"
            )
        yield Item(f"{name} {start:g}-{end:g} s", text, sound, (start, end))


def _csv(path: Path) -> Iterator[Item]:
    reader = csv.DictReader(io.StringIO(load(path), newline=""), strict=True)
    try:
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise ValueError(f"{where}: has not as many values as there are columns")
            yield _of_row(path, where, row)
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num + 1}: {reason(error)}") from None


def _jsonl(path: Path) -> Iterator[Item]:
    for number, line in _lines(path):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"{where}: no JSON ({reason(error)})") from None
        if not isinstance(row, dict):
            raise ValueError(f"{where}: {shown(row)} (expected an object with audio and text)")
        yield _of_row(path, where, row)


def _of_row(path: Path, where: str, row: dict) -> Item:
    """Of a row with audio, relative to the file, and text; and words, where it has them."""
    for key in ("audio", "text"):
        if not isinstance(row.get(key), str) or not row[key].strip():
            raise ValueError(f"{where}: {key} is {shown(row.get(key))} (expected a text)")
    sound = path.parent / row["audio"]
    if not sound.is_file():
        raise ValueError(f"{where}: there is no sound file {sound}")
    words = row.get("words") or ()
    if not isinstance(words, (list, tuple)):
        raise ValueError(f"{where}: words is {shown(words)} (expected a list)")
    timed = tuple(_timed(where, word) for word in words)
    return Item(row["audio"], row["text"].strip(), sound, words=timed)


def _timed(where: str, word: object) -> Timed:
    try:
        text, start, end = (word[key] for key in Timed._fields)
        check_number("start", start, 0, 1e9)
        check_number("end", end, start, 1e9)
        return Timed(str(text), float(start), float(end))
    except (TypeError, KeyError, ValueError):
        raise ValueError(
            f"{where}: a word is {shown(word)} (expected text, start and end, in seconds)"
        ) from None


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbers and lines that are not empty."""
    for number, line in enumerate(load(path).split("\n"), 1):
        if line.strip():
            yield number, line.strip()
