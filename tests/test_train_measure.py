"""The figures of the model card are what they say: checked where the answer is known."""

import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools" / "train"))

import measure  # noqa: E402
from measured.pauses import pause_figures, turn_figures  # noqa: E402
from measured.speaking import dialogues, turns_in_voice  # noqa: E402
from measured.timbre import Voices, timbre, told_apart  # noqa: E402
from measured.words import late_starts, texts_of, whole_words, wrong_words  # noqa: E402
from speech.sessions import Spoken  # noqa: E402

from dsm_mlx import EndOfTurn, Pause, Word  # noqa: E402
from dsm_mlx.results import Speech, Transcript  # noqa: E402

WORDS = [Spoken("good", 0.5, 0.8, 0), Spoken("day", 0.8, 1.3, 0), Spoken("good", 4.5, 4.9, 0)]


def heard(shift, probability):
    """A transcript with all words `shift` seconds late and all pauses of one probability."""
    words = [Word(w.text, w.start + shift, w.end + shift) for w in WORDS]
    probabilities = dict.fromkeys((0.5, 1.0, 2.0, 3.0), probability)
    pauses = [Pause(i / 12.5, probabilities) for i in range(250)]
    return Transcript(" ".join(w.text for w in words), words, pauses=pauses)


def test_words_wrong():
    said = texts_of([heard(0, 0)])
    assert str(wrong_words(["Good day, good."], said)) == "0.0% (0 of 3 words)"
    assert str(wrong_words(["Good day to you."], said)) == "50.0% (2 of 4 words)"


def test_a_word_that_the_end_cuts_off_is_not_counted():
    cut = [*WORDS, Spoken("somebody", 19.7, 20.3, 0)]
    result = heard(0, 0)
    result.words.append(Word("some", 19.65, 19.9))
    assert whole_words(cut, result) == ("good day good", "good day good")
    whole = [*WORDS, Spoken("somebody", 19.4, 19.95, 0)]
    assert whole_words(whole, result) == ("good day good somebody", "good day good some")
    # What begins in the last tenth of a second is in no session's words.
    result.words[-1] = Word("some", 19.9, 20.0)
    assert whole_words(WORDS, result) == ("good day good", "good day good")


def test_starts_of_words():
    assert late_starts([WORDS], [heard(0.04, 0)]) == pytest.approx([0.04] * 3)
    assert late_starts([WORDS], [heard(2.0, 0)]) == []


def test_pauses():
    """Silence lies in 0-0.5, 1.3-4.5 and 4.9-20 s: 18.8 of 20 s."""
    never = pause_figures([WORDS], [heard(0, 0.1)])
    assert all("precision 0.00, recall 0.00" in line for line in never)
    always = pause_figures([WORDS], [heard(0, 0.9)])
    precision = [float(line.split("precision ")[1][:4]) for line in always]
    assert all("recall 1.00" in line for line in always)
    assert precision == pytest.approx([0.94, 0.92, 0.92, 0.92], abs=0.02)


def test_pauses_are_counted_one_by_one():
    """Told of for a moment in the pause at 1.3-4.5 s and in the word before it, nowhere else."""
    told = heard(0, 0.1)
    for i in (10, 30):
        told.pauses[i] = Pause(i / 12.5, dict.fromkeys((0.5, 1.0, 2.0, 3.0), 0.9))
    by_pause = [line.split("by pause: ")[1] for line in pause_figures([WORDS], [told])]
    # Those of 0-0.5 s and of the end are missed; the first is shorter than 1 s.
    assert by_pause == ["precision 0.50, recall 0.33", *["precision 0.50, recall 0.50"] * 3]


def test_ends_of_turns():
    """One is told in the pause at 1.3-4.5 s, one in a word, one in the pause before the end."""

    def told(*times):
        return Transcript("", turns=[EndOfTurn(time) for time in times])

    figures = turn_figures([WORDS], [told(2.0, 4.6, 5.5)])
    assert "precision 0.67, recall 1.00, median 0.65 s" in figures
    assert "precision 0.00, recall 0.00" in turn_figures([WORDS], [told()])
    # Half a second is left after this word: who knows whether it was a pause.
    cut = [Spoken("good", 0.5, 19.5, 0)]
    figures = turn_figures([WORDS, cut], [told(2.0, 5.5), told(19.8)])
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


def test_turns_are_told_by_the_two_voices_of_their_dialogue():
    """One turn of four is in the wrong voice; a third voice would be nearer to none of them."""
    voices = np.array(["deep", "high", "flat"] * 4)
    sounds = [coloured(v, i) if v != "flat" else np.ones(24_000) for i, v in enumerate(voices)]
    known = Voices(np.stack([timbre(sound) for sound in sounds]), voices)
    talk = [("high", "one two"), ("deep", "three"), ("high", "four five six"), ("deep", "seven")]
    spoken = ("high", "high", "high", "deep")
    audio = np.concatenate([np.zeros(2400), *(coloured(v, 90 + i) for i, v in enumerate(spoken))])
    starts = (0.1, 0.6, 1.1, 2.1, 2.4, 2.7, 3.1)  # the turns begin at 0.1, 1.1, 2.1 and 3.1 s
    words = [Word(str(i), start, start + 0.2) for i, start in enumerate(starts)]
    speech = Speech(audio.astype(np.float32), 24_000, words)
    assert turns_in_voice(talk, speech, known) == [True, False, True, True]


def test_dialogues_are_of_every_two_voices_in_turn():
    talks = dialogues(["a", "b", "c"], 6)
    assert talks == dialogues(["a", "b", "c"], 6)
    voices = [[voice for voice, _ in talk] for talk in talks]
    assert len({tuple(of) for of in voices}) == 6
    assert all(of[:2] == of[2:] and of[0] != of[1] for of in voices)


def test_the_bundled_model_is_measured_on_recordings(capsys):
    demos = ROOT / "demos" / "audio"
    assert measure.main(["tiny", "--folder", str(demos), "--count", "1"]) == 0
    line = capsys.readouterr().out
    assert line.startswith("folder, delay 0.5 s, ") and "words)" in line
    wrong = float(line.split(", ")[2].split("%")[0])
    assert wrong <= 20 and np.isfinite(wrong)


def test_a_picture_that_cannot_be_is_refused_before_anything_is_measured(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ValueError, match=r"--plot needs matplotlib"):
        measure.main(["no such model", "--plot", str(tmp_path / "curve.png")])
