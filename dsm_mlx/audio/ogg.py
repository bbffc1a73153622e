"""The pages of an Ogg file, counted: whether it is whole, and whether it is one stream."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

HEADER_BYTES = 27
BEGINS, ENDS = 2, 4  # flags of a page
MAX_JUNK = 1 << 20  # what may lie between pages


@dataclass(frozen=True)
class Pages:
    """chained: another stream begins after the first; whole: the last page says that it is last."""

    chained: bool
    whole: bool


def scan(file: BinaryIO) -> Pages:
    """Walk the pages of an Ogg file, without reading their content."""
    chained = whole = started = False
    while len(head := file.read(HEADER_BYTES)) == HEADER_BYTES:
        if head[:4] != b"OggS":
            file.seek(-HEADER_BYTES, io.SEEK_CUR)
            if not _resume(file):
                break
            continue
        begins, whole = bool(head[5] & BEGINS), bool(head[5] & ENDS)
        chained |= begins and started
        started |= not begins
        file.seek(sum(file.read(head[26])), io.SEEK_CUR)
    return Pages(chained, whole and _ends_here(file))


def _resume(file: BinaryIO) -> bool:
    """Go to the next page behind what is none."""
    here = file.tell()
    found = file.read(MAX_JUNK).find(b"OggS", 1)
    file.seek(here + max(found, 0))
    return found >= 0


def _ends_here(file: BinaryIO) -> bool:
    """Whether the file is not shorter than its last page says."""
    return file.tell() <= file.seek(0, io.SEEK_END)
