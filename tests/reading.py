"""Reads a text as the library does, with a tokenizer that can be undone."""

from dsm_mlx.tts.script import Entry, ScriptReader
from dsm_mlx.tts.text.lexicon import Lexicon
from dsm_mlx.tts.text.reader import WrittenReader
from dsm_mlx.tts.text.rules import Rules

LANGUAGES = {"en": ("en",), "fr": ("fr",), "auto": ("en", "fr")}


def letters(word: str) -> tuple[int, ...]:
    """One token a letter or figure; other signs are not known."""
    return tuple(10 + ord(ch) for ch in word if ch.isalnum() or ch in "'°")


def reader_of(normalize="en", lexicon=None, numbers=True, **options) -> WrittenReader:
    rules = Rules(LANGUAGES[normalize], numbers) if normalize else None
    entries = Lexicon(lexicon) if lexicon is not None else None
    return WrittenReader(ScriptReader(letters, speakers=False, **options), rules, entries)


def read(text: str, normalize="en", cut=None, **options) -> list[Entry]:
    """cut: gives the length of the next piece to feed."""
    reader, entries = reader_of(normalize, **options), []
    while text:
        size = cut() if cut else len(text)
        entries += reader.feed(text[:size])
        text = text[size:]
    return entries + reader.end()


def heard(entries: list[Entry]) -> str:
    """What is said; a pause is its steps between bars."""
    words = ("".join(chr(token - 10) for token in entry.tokens) for entry in entries)
    return " ".join(
        word or f"|{entry.padding}|" for word, entry in zip(words, entries, strict=True)
    )


def said(text: str, normalize="en", **options) -> str:
    return heard(read(text, normalize, **options))


def captions(entries: list[Entry]) -> list[str]:
    return [entry.text for entry in entries if entry.begins]
