"""Figures that Kyutai has published, to be shown beside ours.

Of hearing: the 2.6b at its delay of 2.5 s (arXiv 2509.08753), words wrong in percent. Of speaking:
the texts of LibriSpeech test-clean said by tts-0.75b-en-public, heard by another model (its card).
"""

from __future__ import annotations

import re

SHORT_FORM = {
    "librispeech-clean": 1.7,
    "librispeech-other": 4.3,
    "ami": 12.2,
    "earnings22": 11.0,
    "gigaspeech": 9.8,
    "spgispeech": 2.0,
    "tedlium": 3.4,
    "voxpopuli": 6.8,
}
SHORT_FORM_AVERAGE = 6.4
LONG_FORM = {"tedlium-long": 2.9, "meanwhile": 5.7, "rev16": 12.3, "earnings21": 10.6}
LONG_FORM_AVERAGE = 7.9
HEARING = SHORT_FORM | LONG_FORM
SPEAKING = {"librispeech-clean": "1.95 (16 codebooks), 1.68 (32)"}
WORD_TIMES = {"F1": 0.73, "mIoU": 0.54}
_FOLDERS = {
    "librispeech-clean": "test-clean",
    "librispeech-other": "test-other",
    "tedlium": r"ted-?lium|\.stm$",
}


def which(name: str) -> str | None:
    """Which of `HEARING` a set is, from the name or path that the user gave; None: of no."""
    lower = name.lower()
    known = sorted(HEARING, key=len, reverse=True)
    return next((one for one in known if re.search(_FOLDERS.get(one, rf"\b{one}\b"), lower)), None)
