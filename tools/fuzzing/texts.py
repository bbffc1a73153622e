"""Texts of any signs and tags, whole, in pieces and as dialogues."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import dsm_mlx

_PARTS = (
    "one", "two", "Hello,", "it's", " ", "  ", "\n", "\t", "\u2019", "\u2013", "(", ")", ":", "<",
    ">", "<break time='200ms'/>", '<break time="0.1s"/>', "<break time='1h'/>", "<break",
    "</break>", "<p>", "<!--", "&amp;", "🙂", "e\u0301", "\u202e", "\u00ad", "\x00", "\ud83d",
    "\uffff", "中文", "1,000.50", "http://a.b/c?d=e", "**bold**", "`code`", "x" * 60, "...", "?!",
    "\r\n", "\ufeff",
)  # fmt: skip


@cache
def _speaker(path: Path) -> dsm_mlx.TextToSpeech:
    return dsm_mlx.load_tts(path)


def attempt(rng: random.Random, corpus: Path, folder: Path) -> None:
    """Say it, or as much as can be said of it."""
    tts = _speaker(corpus / "tts")
    text = "".join(rng.choice(_PARTS) for _ in range(rng.choice((0, 1, 3, 8, 12))))
    how = rng.randrange(4)
    if how == 0:
        tts.synthesize(text, seed=1)
    elif how == 1:
        voice = rng.choice((None, *tts.voices()))
        tts.synthesize([(voice, text), (rng.choice((None, "nobody")), "Hi")], seed=1)
    elif how == 2:
        with tts.stream(seed=1) as stream:
            while text:
                size = rng.randrange(1, 9)
                stream.feed(text[:size])
                text = text[size:]
            stream.end()
            for _ in stream:
                pass
    else:  # long, and nobody waits for the sound
        with tts.stream(seed=1) as stream:
            stream.feed(text * 200)
            stream.end()
            next(stream, None)
