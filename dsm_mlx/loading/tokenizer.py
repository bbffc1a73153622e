"""The tokenizer of a checkpoint as a SentencePiece model; that of Transformers is made into one.

A tokenizer.json tells the pieces and their scores, which is what SentencePiece needs. Reference:
`MoshiConverter` in transformers/convert_slow_tokenizer.py, whose inverse this is; the fields are
those of sentencepiece_model.proto.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from pathlib import Path
from typing import Any

from dsm_mlx.files.config_reader import LARGE, ConfigReader
from dsm_mlx.messages import shown

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _BYTE = 1, 2, 3, 4, 6
_MOST_PIECES = 1 << 20
_UNIGRAM = 1
_ONE_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def sentencepiece_of(path: Path) -> bytes:
    """A tokenizer.json -> the SentencePiece model that it was made from.

    Raises:
        CheckpointError: it is damaged, or not of the kind of Kyutai's tokenizers.
    """
    raw = ConfigReader.read(path, most=LARGE)
    model = raw.section("model")
    model.choice("type", ("Unigram",))
    unknown = model.integer("unk_id", 0, _MOST_PIECES, 0)
    added, vocabulary = _added(raw), model.get("vocab", list)
    if len(vocabulary) > _MOST_PIECES:
        count = len(vocabulary)
        raise model.error("vocab", f"holds {count} pieces (expected at most {_MOST_PIECES})")
    for i, entry in enumerate(vocabulary):
        if not _is_piece(entry):
            raise model.error("vocab", f"holds {shown(entry)} at {i} (expected [piece, score])")
    if len(vocabulary) <= unknown:
        raise model.error("vocab", f"holds {len(vocabulary)} pieces (expected more than unk_id)")
    # The flag of its own is true in any case.
    fallback = sum(bool(_ONE_BYTE.fullmatch(text)) for text, _ in vocabulary) == 256
    pieces = [
        _piece(text, score, _kind(text, i == unknown, added.get(text), fallback))
        for i, (text, score) in enumerate(vocabulary)
    ]
    trainer = _integer(3, _UNIGRAM) + _integer(4, len(pieces)) + _integer(35, int(fallback))
    trainer += _integer(40, unknown)
    normalizer = _bytes(1, b"tokenizer.json") + _bytes(2, _charsmap(raw))
    return b"".join(pieces) + _bytes(2, trainer) + _bytes(3, normalizer)


def _is_piece(entry: Any) -> bool:
    pair = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
    return pair and type(entry[1]) in (int, float) and abs(entry[1]) < 1e9


def _added(raw: ConfigReader) -> dict[str, bool]:
    """Pieces that stand apart -> whether they are never seen in a text."""
    found = {}
    for entry in raw.get("added_tokens", list, []):
        if not isinstance(entry, dict) or not isinstance(entry.get("content"), str):
            raise raw.error("added_tokens", f"holds {shown(entry)} (expected objects)")
        found[entry["content"]] = entry.get("special") is True
    return found


def _charsmap(raw: ConfigReader) -> bytes:
    """The table by which texts are normalised; empty where they are taken as they are."""
    normalizer = raw.section("normalizer", {})
    steps = [normalizer.values, *normalizer.get("normalizers", list, [])]
    for step in steps:
        if isinstance(step, dict) and step.get("type") == "Precompiled":
            table: Any = step.get("precompiled_charsmap")
            try:
                return base64.b64decode(table, validate=True)
            except (binascii.Error, ValueError, TypeError):
                raise normalizer.error("precompiled_charsmap", "is not in base64") from None
    return b""


def _kind(text: str, unknown: bool, special: bool | None, fallback: bool) -> int:
    if unknown:
        return _UNKNOWN
    if special is not None:
        return _CONTROL if special else _USER_DEFINED
    return _BYTE if fallback and _ONE_BYTE.fullmatch(text) else _NORMAL


def _piece(text: str, score: float, kind: int) -> bytes:
    name = _bytes(1, text.encode("utf-8", "replace"))
    return _bytes(1, name + _float(2, score) + _integer(3, kind))


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
