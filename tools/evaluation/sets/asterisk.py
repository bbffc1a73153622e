"""What a telephone exchange says: people's voices in Debian's packages, with their texts.

CC-BY-SA 3.0, by Allison Smith (English) and June Wallack (French); 16 kHz in G.722. It is for
measuring: nothing is trained on it.
"""

from __future__ import annotations

import gzip
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from dsm_mlx.audio import read
from dsm_mlx.messages import reason
from evaluation.sets.item import RATE, Item, Set

_THREADS = 4  # each waits for a decoder
# What is heard, but not said, and how a sign is written.
_UNSAID = re.compile(r"\[[^\]]*\]|<[^>]*>|^\([^)]*\)$")


def find(language: str, root: Path = Path("/")) -> Set:
    """All recordings with words in them, decoded. language: "en" or "fr".

    ValueError, with the command that helps, where a package or a decoder is missing.
    """
    package = f"asterisk-core-sounds-{language}"
    sounds = root / "usr/share/asterisk/sounds" / language
    texts = root / f"usr/share/doc/{package}/core-sounds-{language}.txt.gz"
    for there in (sounds, texts):
        if not there.exists():
            raise ValueError(
                f"{there}: is not there; it comes with sudo apt install {package} {package}-g722"
            )
    files = {str(path.relative_to(sounds).with_suffix("")): path for path in sounds.rglob("*.g722")}
    if not files:
        raise ValueError(f"{sounds}: holds no .g722; sudo apt install {package}-g722")
    said = _texts(texts)
    known = [name for name in sorted(files) if said.get(name)]
    with ThreadPoolExecutor(_THREADS) as pool:
        pcm = pool.map(lambda name: read(files[name], target=RATE), known)
        bar = tqdm(zip(known, pcm, strict=True), "decoding", len(known), disable=None)
        items = [Item(name, said[name], sound) for name, sound in bar]
    left = len(files) - len(items)
    note = f"{left} recordings without words or without a text are left out"
    return Set(f"asterisk-{language}", items, language, note)


def _texts(path: Path) -> dict[str, str]:
    """Name and text of each line; a text that is no words is ""."""
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").splitlines()
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read ({reason(error)})") from None
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith(";"):
            continue
        name, colon, text = line.partition(":")
        if not colon:
            raise ValueError(f"{path}, line {number}: {line} (expected a name, a colon, a text)")
        found[name.strip()] = _UNSAID.sub("", text.strip()).strip()
    return found
