"""A transcript as a picture: words over the waveform, silences and pauses. Needs matplotlib."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from dsm_mlx.captions import doubt
from dsm_mlx.captions.cutting import clean, encodable
from dsm_mlx.captions.style import DEFAULT
from dsm_mlx.results import Pause, Transcript, Word

if TYPE_CHECKING:
    from matplotlib.axes import Axes

NEEDS = "matplotlib (pip install 'dsm-mlx[plot]')"
MOST_SECONDS = 600.0
"""Of one picture, which is some 11,000 pixels high then."""
_ROW_SECONDS = 8.0  # of which one line of a picture shows the words so that they can be read
_INCHES, _ROW_INCHES, _TICKS_INCHES, _LABEL_INCHES, _DPI = 14.0, 1.5, 0.3, 0.4, 100
_MARGIN = 0.01  # of the width
_BINS = 1400  # columns of the waveform in a row
_TOP, _BOTTOM = 2.0, -1.5  # the sound is within 1; words stand above, pauses below
_STRIP = -1.1  # where the strip of pauses ends
_SHADES = ("#4c78a8", "#8fb0d0")  # of words, by turns
_DOUBTS = {"low": "#c00000", "medium": "#b06000"}


def check_matplotlib() -> None:
    """ValueError that says how to get matplotlib where it is missing."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        raise ValueError(f"a picture of a transcript needs {NEEDS}") from None


def picture(transcript: Transcript, pcm: np.ndarray, rate: float, start: float = 0.0) -> bytes:
    """A PNG file with rows of 8 seconds of sound, each with its words.

    transcript: with times of the whole recording. pcm: float32 (samples,) at `rate` Hz, which
    begins at `start` seconds; what is beyond `MOST_SECONDS` is not drawn. Silences of 0.8 s
    and more are grey; ends of turns are red lines; an orange strip below has the probability of
    the shortest pause, where the transcript has any. ValueError without matplotlib.
    """
    check_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    pcm = pcm[: int(MOST_SECONDS * rate)]
    seconds = len(pcm) / rate
    rows = max(1, math.ceil(round(seconds / _ROW_SECONDS, 3)))
    width = _ROW_SECONDS if rows > 1 else max(seconds, 1.0)
    height = _ROW_INCHES * rows + _LABEL_INCHES
    figure = Figure(figsize=(_INCHES, height), dpi=_DPI)
    FigureCanvasAgg(figure)
    loudest = float(np.abs(pcm).max(initial=0.0)) or 1.0
    words = list(clean(transcript.words))
    for row in range(rows):
        begin = start + row * width
        bottom = _LABEL_INCHES + _ROW_INCHES * (rows - 1 - row)
        place = (_MARGIN, bottom / height, 1 - 2 * _MARGIN, (_ROW_INCHES - _TICKS_INCHES) / height)
        axes = figure.add_axes(place)
        _prepare(axes, begin, width)
        first = round(row * width * rate)
        _draw_sound(axes, pcm[first : round(first + width * rate)] / loudest, rate, begin)
        _draw_words(axes, words, begin, begin + width)
        _draw_silences(axes, words, transcript)
        _draw_pauses(axes, transcript.pauses, begin, begin + width)
    axes.set_xlabel("seconds")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def _prepare(axes: Axes, begin: float, width: float) -> None:
    axes.set(xlim=(begin, begin + width), ylim=(_BOTTOM, _TOP), yticks=[])
    axes.xaxis.set_major_locator(_locator(width))
    axes.tick_params(labelsize=8)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)


def _locator(width: float) -> Any:
    from matplotlib.ticker import MultipleLocator

    return MultipleLocator(1.0 if width > 2 else 0.25)


def _draw_sound(axes: Axes, pcm: np.ndarray, rate: float, begin: float) -> None:
    """The least and the greatest sample of each column of the picture."""
    if not len(pcm):
        return
    columns = np.array_split(pcm, min(_BINS, len(pcm)))
    middles = begin + (np.arange(len(columns)) + 0.5) * len(pcm) / len(columns) / rate
    low, high = ([float(f(column)) for column in columns] for f in (np.min, np.max))
    axes.fill_between(middles, low, high, color="#707070", linewidth=0.4)


def _draw_words(axes: Axes, words: list[Word], begin: float, end: float) -> None:
    """Each as a bar of its time, its text above in one of two lines, so that none is hidden."""
    for index, word in enumerate(words):
        if word.end <= begin or word.start >= end:
            continue
        shade = _SHADES[index % 2]
        first, last = max(word.start, begin), min(word.end, end)
        axes.axvspan(first, last, color=shade, alpha=0.25, linewidth=0)
        if word.start < begin:  # its text stands in the row before
            continue
        name = f"{word.speaker}: " if _begins_turn(words, index) else ""
        axes.text(
            word.start,
            1.05 + 0.45 * (index % 2),
            encodable(name + word.text),
            fontsize=9,
            color=_DOUBTS.get(doubt(word.confidence), "black"),
            parse_math=False,
        )


def _begins_turn(words: list[Word], index: int) -> bool:
    speaker = words[index].speaker
    return speaker is not None and (index == 0 or words[index - 1].speaker != speaker)


def _draw_silences(axes: Axes, words: list[Word], transcript: Transcript) -> None:
    """Between words, while nobody speaks, and the ends of turns."""
    begin, end = axes.get_xlim()
    spoken = -math.inf
    for word in words:
        if word.start - spoken >= DEFAULT.gap and begin < word.start and spoken < end:
            axes.axvspan(max(spoken, begin), min(word.start, end), color="#dddddd", zorder=0)
            middle = (spoken + word.start) / 2
            if begin <= middle < end:
                silence = f"{word.start - spoken:.1f} s"
                axes.text(middle, 1.05, silence, fontsize=8, color="#707070", ha="center")
        spoken = max(spoken, word.end)
    for turn in transcript.turns:
        if begin <= turn.time < end:
            axes.axvline(turn.time, color="#c00000", linewidth=1)


def _draw_pauses(axes: Axes, pauses: Iterable[Pause], begin: float, end: float) -> None:
    """How likely the shortest pause is, as a strip below the sound."""
    known = [(p.time, p.probabilities[min(p.probabilities)]) for p in pauses if p.probabilities]
    inside = [(time, value) for time, value in known if begin <= time < end]
    if inside:
        times, values = zip(*inside, strict=True)
        tops = [_BOTTOM + value * (_STRIP - _BOTTOM) for value in values]
        axes.fill_between(times, _BOTTOM, tops, color="#e69500", linewidth=0)
