"""Results as HTML, as notebooks show them: words with their times, and a player.

All text is escaped, styles stand in the elements, and there is no script: so it is shown as it is
by notebooks that trust nobody, on light and dark pages alike.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from html import escape
from itertools import pairwise

import numpy as np

from dsm_mlx.audio import WavWriter
from dsm_mlx.captions import doubt, turns
from dsm_mlx.captions.cutting import encodable
from dsm_mlx.captions.style import DEFAULT
from dsm_mlx.errors import AudioError
from dsm_mlx.results import EndOfTurn, Speech, Transcript, Word

MOST_BYTES = 8_000_000
"""Of a WAV file in a page, nearly three minutes at 24 kHz: a notebook keeps it as text."""
MOST_WORDS = 5000
"""Of a transcript in a page: half an hour's or so."""
_FAINT = "opacity:.55;font-size:smaller"
_DOUBTS = {"low": "border-bottom:1px dotted #e33", "medium": "border-bottom:1px dotted #d90"}


def transcript_page(transcript: Transcript) -> str | None:
    """A line for each turn of a speaker, with the times and the confidence of each word on hover,
    doubtful words underlined with dots, silences in seconds and ends of turns.

    None for words that cannot be shown, such as those whose times are not finite.
    """
    try:
        lines = _lines(transcript.words[:MOST_WORDS], transcript.turns)
    except (TypeError, ValueError):
        return None
    more = len(transcript.words) - MOST_WORDS
    cut = [_faint(f"… and {more} words more: save it to read them")] if more > 0 else []
    head = _faint(f"{transcript.duration:.2f} s, words: {len(transcript.words)}")
    return "<div>" + "<br>".join([head, *lines, *cut]) + "</div>"


def speech_page(speech: Speech) -> str | None:
    """A player, and the words below it. None for what cannot be played or shown."""
    try:
        lines = _lines(speech.words[:MOST_WORDS], [])
        player = _player(speech.audio, speech.sample_rate)
    except (AudioError, TypeError, ValueError):
        return None
    return f"<div>{'<br>'.join([player, *lines])}</div>"


def _player(audio: np.ndarray, sample_rate: int) -> str:
    """An element with the sound in it as a 16-bit WAV file, or why there is none."""
    size = 2 * len(audio)
    if size > MOST_BYTES:
        return _faint(
            f"no player: {size / 1e6:.1f} MB of sound (a notebook gets {MOST_BYTES / 1e6:.0f} MB "
            "at most); save() writes it into a file"
        )
    file = io.BytesIO()
    WavWriter(file, sample_rate).write(audio)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return f'<audio controls src="data:audio/wav;base64,{data}"></audio>'


def _lines(words: list[Word], ends: list[EndOfTurn]) -> list[str]:
    """The words of each turn, its speaker before them."""
    times = [end.time for end in ends]
    found = []
    for turn in turns(words):
        speaker = turn[0].speaker
        name = "" if speaker is None else f"<b>{_text(speaker)}</b>: "
        found.append(name + " ".join(_parts(turn, times)))
    return found


def _parts(words: list[Word], ends: list[float]) -> Iterator[str]:
    """Each word, and what there is between it and the next."""
    for word, following in pairwise([*words, None]):
        assert word
        yield _word(word)
        until = following.start if following else float("inf")
        if any(word.end <= end < until for end in ends):
            yield _faint("¶", "the end of a turn")
        if following and following.start - word.end >= DEFAULT.gap:
            yield _faint(f"[{following.start - word.end:.1f} s]", "silence")


def _word(word: Word) -> str:
    told = f"{word.start:.2f} to {word.end:.2f} s"
    if word.confidence is not None:
        told += f", confidence {word.confidence:.2f}"
    style = _DOUBTS.get(doubt(word.confidence))
    shown = f' style="{style}"' if style else ""
    return f'<span title="{told}"{shown}>{_text(word.text)}</span>'


def _faint(text: str, told: str | None = None) -> str:
    title = f' title="{told}"' if told else ""
    return f'<span{title} style="{_FAINT}">{text}</span>'


def _text(text: str) -> str:
    return escape(encodable(text))
