"""Which sound files there are: of names and folders, in order, one after another."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from dsm_mlx.messages import named, reason

# How the names of sound files end: of a folder, those are taken.
SOUND = {
    ".aac", ".aif", ".aiff", ".amr", ".ape", ".au", ".caf", ".flac", ".flv", ".m4a", ".m4b", ".m4v",
    ".mka", ".mkv", ".mov", ".mp3", ".mp4", ".mpeg", ".mpg", ".oga", ".ogg", ".ogv", ".opus", ".ts",
    ".wav", ".weba", ".webm", ".wma", ".wmv",
}  # fmt: skip
ITS_NAME = "{name}"
"""In what results are called, it stands for what the recording is called."""


@dataclass(frozen=True)
class Recording:
    """A sound file. path: to open it by. name: of its results, below the folder where they are
    written and without an ending. wrong: why it cannot be heard, if that is known already."""

    path: str
    name: str
    wrong: str | None = None


def check_sources(sources: Sequence[str]) -> None:
    """ValueError where results of two of several sources would lie in the same place."""
    names = [name.casefold() for _, name in _tops(sources)]
    for (source, name), folded in zip(_tops(sources), names, strict=True):
        if names.count(folded) > 1:
            raise ValueError(
                f"{named(source)}: several sources are called {name}, so that their results would "
                "replace each other (expected each in a run of its own, with a folder of its own)"
            )


def find(sources: Sequence[str], recursive: bool = False) -> Iterator[Recording]:
    """The sound files among `sources`, one after another: of a folder those whose names end as
    sound does (see `SOUND`), in order, and if it is `recursive` those of the folders in it;
    anything else is taken as it is. What is hidden is left out.

    The results of a folder that is the only source lie as its files do; of several sources each
    folder's have one of its name. Files of a folder whose names differ in their endings alone keep
    those: talk.wav.txt, talk.mp3.txt. A folder that links reach twice, or without end, is listed
    once. Only the names in one folder are in memory at a time.
    """
    seen: set[tuple[int, int]] = set()
    for source, name in _tops(sources):
        if os.path.isdir(source):
            yield from _inside(source, "" if len(sources) == 1 else name, recursive, seen)
        else:
            yield Recording(source, name)


def _tops(sources: Sequence[str]) -> list[tuple[str, str]]:
    """Each source, and what its results are called: a folder as it is, others without ending."""
    files = dict(_called([source for source in sources if not os.path.isdir(source)]))
    return [
        (source, files.get(source) or os.path.basename(os.path.abspath(source)))
        for source in sources
    ]


def _inside(
    folder: str, name: str, recursive: bool, seen: set[tuple[int, int]]
) -> Iterator[Recording]:
    """seen: the device and inode of folders that were listed."""
    waiting = [(folder, name)]
    while waiting:
        folder, name = waiting.pop()
        try:
            found = os.stat(folder)
            if (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            files, folders = _contents(folder)
        except OSError as error:
            yield Recording(folder, name, f"{named(folder)}: {reason(error)}")
            continue
        for file, called in _called(files):
            yield Recording(os.path.join(folder, file), os.path.join(name, called))
        if recursive:
            waiting += [
                (os.path.join(folder, inner), os.path.join(name, inner))
                for inner in reversed(folders)
            ]


def _contents(folder: str) -> tuple[list[str], list[str]]:
    """The names of a folder's sound files and of the folders in it, both sorted."""
    files, folders = [], []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if _is_folder(entry):
                folders.append(entry.name)
            elif os.path.splitext(entry.name)[1].lower() in SOUND:
                files.append(entry.name)
    return sorted(files), sorted(folders)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _called(files: list[str]) -> list[tuple[str, str]]:
    """Each file, and what its results are called: its name without ending, unless another one's is
    the same, with or without ending, also where case does not count."""
    stems = {file: os.path.splitext(os.path.basename(file))[0] for file in files}
    taken = Counter(stem.casefold() for stem in stems.values())
    taken.update(os.path.basename(file).casefold() for file in stems)
    return [
        (file, stem if taken[stem.casefold()] == 1 else os.path.basename(file))
        for file, stem in stems.items()
    ]
