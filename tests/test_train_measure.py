"""The figures of the model card are what they say: checked where the answer is known."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools" / "train"))

import measure  # noqa: E402
from speech.sessions import Spoken  # noqa: E402
from timbre import Voices, timbre, told_apart  # noqa: E402

from dsm_mlx import EndOfTurn, Pause, Word  # noqa: E402
from dsm_mlx.results import Transcript  # noqa: E402

WORDS = [Spoken("good", 0.5, 0.8, 0), Spoken("day", 0.8, 1.3, 0), Spoken("good", 4.5, 4.9, 0)]


def heard(shift, probability):
    """A transcript with all words `shift` seconds late and all pauses of one probability."""
    words = [Word(w.text, w.start + shift, w.end + shift) for w in WORDS]
    probabilities = dict.fromkeys((0.5, 1.0, 2.0, 3.0), probability)
    pauses = [Pause(i / 12.5, probabilities) for i in range(250)]
    return Transcript(" ".join(w.text for w in words), words, pauses=pauses)


def test_words_wrong():
    said = measure.texts_of([heard(0, 0)])
    assert str(measure.wrong_words(["Good day, good."], said)) == "0.0% (0 of 3 words)"
    assert str(measure.wrong_words(["Good day to you."], said)) == "50.0% (2 of 4 words)"


def test_a_word_that_the_end_cuts_off_is_not_counted():
    cut = [*WORDS, Spoken("somebody", 19.7, 20.3, 0)]
    result = heard(0, 0)
    result.words.append(Word("some", 19.65, 19.9))
    assert measure.whole_words(cut, result) == ("good day good", "good day good")
    whole = [*WORDS, Spoken("somebody", 19.4, 19.95, 0)]
    assert measure.whole_words(whole, result) == ("good day good somebody", "good day good some")
    # What begins in the last tenth of a second is in no session's words.
    result.words[-1] = Word("some", 19.9, 20.0)
    assert measure.whole_words(WORDS, result) == ("good day good", "good day good")


def test_starts_of_words():
    assert measure.late_starts([WORDS], [heard(0.04, 0)]) == pytest.approx([0.04] * 3)
    assert measure.late_starts([WORDS], [heard(2.0, 0)]) == []


def test_pauses():
    """Silence lies in 0-0.5, 1.3-4.5 and 4.9-20 s: 18.8 of 20 s."""
    never = measure.pause_figures([WORDS], [heard(0, 0.1)])
    assert all("precision 0.00, recall 0.00" in line for line in never)
    always = measure.pause_figures([WORDS], [heard(0, 0.9)])
    precision = [float(line.split("precision ")[1][:4]) for line in always]
    assert all("recall 1.00" in line for line in always)
    assert precision == pytest.approx([0.94, 0.92, 0.92, 0.92], abs=0.02)


def test_pauses_are_counted_one_by_one():
    """Told of for a moment in the pause at 1.3-4.5 s and in the word before it, nowhere else."""
    told = heard(0, 0.1)
    for i in (10, 30):
        told.pauses[i] = Pause(i / 12.5, dict.fromkeys((0.5, 1.0, 2.0, 3.0), 0.9))
    by_pause = [line.split("by pause: ")[1] for line in measure.pause_figures([WORDS], [told])]
    # Those of 0-0.5 s and of the end are missed; the first is shorter than 1 s.
    assert by_pause == ["precision 0.50, recall 0.33", *["precision 0.50, recall 0.50"] * 3]


def test_ends_of_turns():
    """One is told in the pause at 1.3-4.5 s, one in a word, one in the pause before the end."""

    def told(*times):
        return Transcript("", turns=[EndOfTurn(time) for time in times])

    figures = measure.turn_figures([WORDS], [told(2.0, 4.6, 5.5)])
    assert "precision 0.67, recall 1.00, median 0.65 s" in figures
    assert "precision 0.00, recall 0.00" in measure.turn_figures([WORDS], [told()])
    # Half a second is left after this word: who knows whether it was a pause.
    cut = [Spoken("good", 0.5, 19.5, 0)]
    figures = measure.turn_figures([WORDS, cut], [told(2.0, 5.5), told(19.8)])
    assert "precision 1.00, recall 1.00" in figures


def coloured(voice, seed):
    """Noise that is louder the deeper it is, or the higher."""
    noise = np.random.default_rng(seed).normal(size=24_000)
    return np.cumsum(noise - noise.mean()) / 50 if voice == "deep" else np.diff(noise)


def test_voices_are_told_by_their_sound_whatever_their_level():
    voices = np.array(["deep", "high"] * 4)
    samples = np.stack([timbre(coloured(v, i) * 0.5**i) for i, v in enumerate(voices)])
    assert told_apart(samples, voices) == 1
    assert Voices(samples, voices).nearest(timbre(coloured("deep", 99))) == "deep"
    # The same sound under two names cannot be told apart.
    same = np.stack([timbre(coloured("deep", i)) for i in range(40)])
    assert told_apart(same, np.tile(voices, 5)) < 0.75


def test_the_bundled_model_is_measured_on_recordings(capsys):
    demos = ROOT / "demos" / "audio"
    assert measure.main(["tiny", "--folder", str(demos), "--count", "1"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("folder, delay 0.5 s, ") and "words)" in line
    wrong = float(line.split(", ")[2].split("%")[0])
    assert wrong <= 20 and np.isfinite(wrong)
