"""Generated speech: the same from the same seed, words and labels where the sound is."""

import itertools
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentencepiece import SentencePieceProcessor

TRAIN = Path(__file__).parents[1] / "tools" / "train"
sys.path.insert(0, str(TRAIN))

from learn import labels  # noqa: E402
from speech import effects, libraries, phones, pieces, sessions, shards, text, voices  # noqa: E402
from speech.sessions import Mix, Spoken  # noqa: E402
from speech.utterance import fill_gaps  # noqa: E402

from dsm_mlx.stt.words import WordReader  # noqa: E402

SYNTHESIZERS = pytest.mark.skipif(
    not libraries.available(), reason="needs the libraries of espeak-ng and flite"
)
CLEAN = Mix(flite=0.5, no_speech=0, effects=False, turns=0.5)
WORDS = [
    Spoken("good", 0.5, 0.8, 0),
    Spoken("morning", 0.8, 1.3, 0),
    Spoken("everybody", 2.9, 3.6, 0),
    Spoken("yes", 6.0, 6.2, 1),
]


class Pieces:
    """A tokenizer of letters: ids from 10, with SentencePiece's mark in front of a word."""

    def __call__(self, word):
        return [10 + ord(c) - ord("a") for c in word]

    def decode(self, ids):
        return "".join(chr(i - 10 + ord("a")) for i in ids)

    def id_to_piece(self, i):
        return self.decode([i])


# ---- text


def test_any_spelling_becomes_that_of_the_training(tmp_path):
    pieces.train(tmp_path / "tokenizer.model", 150, 12, 300)
    processor = SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    for written, trained in {
        "Hello": "hello",
        "DON\u2019T": "don't",
        "Café": "cafe",
        "42": "four two",
        "well-known": "well known",
        "R&D": "r and d",
        "Straße": "strasse",
    }.items():
        assert processor.encode(written) == processor.encode(trained), written
        assert processor.unk_id() not in processor.encode(written)
    assert processor.encode("—") == processor.encode(" … ") == []
    word = {word for word in text.vocabulary() if word.isascii()}
    assert all(processor.decode(processor.encode(w)) == w for w in word)


def test_sentences_follow_from_the_seed_and_keep_to_their_side():
    drawn = [[text.sentence(random.Random(i), held) for i in range(300)] for held in (False, True)]
    assert drawn[0] == [text.sentence(random.Random(i)) for i in range(300)]
    assert not any(text.is_held_out(s) for s in drawn[0])
    assert all(text.is_held_out(s) for s in drawn[1])
    assert not {" ".join(text.words_of(s)) for s in drawn[0]} & {
        " ".join(text.words_of(s)) for s in drawn[1]
    }


def test_what_is_measured_on_is_never_trained_on():
    for line in text.EVERYDAY.read_text().splitlines():
        assert text.is_held_out(line.capitalize() + ".")


def test_the_grammar_is_whole_and_large_enough():
    assert len(text.vocabulary()) > 1500
    drawn = {text.sentence(random.Random(i)) for i in range(2000)}
    assert len(drawn) > 1800
    assert not any("{" in s or "|" in s for s in drawn)


# ---- sound


@SYNTHESIZERS
def test_a_shard_is_a_function_of_its_number(tmp_path):
    program = (
        f"import sys, zlib; sys.path.insert(0, {str(TRAIN)!r}); from speech import sessions\n"
        "for seed in (3, 4, 5):\n"
        "    s = sessions.make(seed); print(zlib.crc32(s.pcm.tobytes()), s.words, s.speakers)"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        for _ in range(2)
    )
    assert first.stdout == second.stdout and len(first.stdout.splitlines()) == 3


@SYNTHESIZERS
@pytest.mark.parametrize("kind", voices.KINDS)
def test_words_lie_where_the_sound_is(kind):
    """The words' spans fit the loud 20 ms best as they are, not earlier and not later."""
    mix = Mix(kind, 0.5, no_speech=0, effects=False, turns=0.3)
    heard, said = [], []
    for seed in range(8):
        session = sessions.make(seed, mix)
        blocks = session.pcm.reshape(-1, 480)
        level = np.sqrt((blocks**2).mean(1))
        heard.append(level > 0.05 * np.quantile(level, 0.98))
        spans = np.zeros(len(blocks), bool)
        for word in session.words:
            spans[round(word.start * 50) : round(word.end * 50)] = True
        said.append(spans)
    heard, said = np.stack(heard), np.stack(said)
    fit = {k: (heard == np.roll(said, k, 1)).mean() for k in range(-10, 11)}
    assert abs(max(fit, key=fit.get)) <= 2
    assert fit[0] > 0.9


@SYNTHESIZERS
def test_phones_are_silent_where_nothing_is_said():
    session = sessions.make(11, CLEAN)
    spoken = np.zeros(session.phones.size, bool)
    for word in session.words:
        spoken[int(word.start * 50) : int(word.end * 50) + 1] = True
    assert (session.phones[~spoken] == phones.SILENCE).mean() > 0.8
    assert (session.phones[spoken] == phones.SILENCE).mean() < 0.15
    assert (session.phones != phones.UNKNOWN).mean() > 0.99


@pytest.mark.thorough
@SYNTHESIZERS
def test_the_mix_is_kept():
    made = [sessions.make(seed, CLEAN) for seed in range(12)]
    assert {len(s.speakers) for s in made} == {1, 2}
    assert {w.speaker for s in made for w in s.words} == {0, 1}
    assert {v.synthesizer for s in made for v in s.speakers} == {"espeak", "flite"}
    flite = [sessions.make(seed, shards.SPLITS["flite"]) for seed in range(4)]
    assert {v.synthesizer for s in flite for v in s.speakers} == {"flite"}
    plain = [sessions.make(seed, shards.SPLITS["plain"]) for seed in range(4)]
    assert all((s.pcm == 0).mean() > 0.1 for s in plain)  # no noise where nobody speaks
    assert not any((s.pcm == 0).mean() > 0.1 for s in flite)
    turns = [sessions.make(seed, shards.SPLITS["turns"]) for seed in range(4)]
    pauses = [
        after.start - word.end
        for s in turns
        for word, after in itertools.pairwise(s.words)
        if word.speaker != after.speaker
    ]
    assert len(pauses) > 6 and min(pauses) > 0.1 and max(pauses) < 0.85
    silent = sessions.make(1, Mix(no_speech=1))
    assert not silent.words and not silent.speakers
    new = sessions.make(1, Mix("new synthesizer", no_speech=0)).speakers[0]
    assert new.voice not in {v.voice for s in made for v in s.speakers}


@SYNTHESIZERS
def test_shards_come_back_as_they_were_made(tmp_path):
    made = [sessions.make(seed, CLEAN) for seed in range(2)]
    path = shards.path_of(tmp_path, "new voice", 7)
    shards.save(path, pcm=np.stack([shards.to_int16(s.pcm) for s in made]), **shards.labels(made))
    assert shards.found(tmp_path, "new voice") == [path] and not shards.found(tmp_path, "train")
    back = np.load(path)
    assert shards.read_words(back["words"]) == [s.words for s in made]
    assert np.abs(shards.to_float(back["pcm"][1]) - made[1].pcm).max() < 1e-4


@pytest.mark.parametrize("make", [effects.noise, effects.tones])
def test_disturbances_have_the_level_they_say(make):
    made = make(48_000, np.random.default_rng(3))
    assert np.sqrt((made**2).mean()) == pytest.approx(1, rel=1e-3)


def test_effects_keep_the_sound_in_its_place():
    """A click stays where it is: words' times hold after every effect."""
    rng = np.random.default_rng(5)
    for effect in (effects.tilt, effects.echo, effects.at_random):
        click = np.zeros(24_000)
        click[9000] = 1
        assert abs(int(np.abs(effect(click, rng)).argmax()) - 9000) <= 2


def test_unknown_times_are_spread_between_their_neighbours():
    assert fill_gaps([0.0, None, None, 3.0, None], 5.0) == [0.0, 1.0, 2.0, 3.0, 4.0]


# ---- labels


@pytest.mark.parametrize("delay", [2, 6, 25])
def test_text_reads_back_with_its_times(delay):
    """What the labels say is what dsm_mlx reads: step s is the answer to frame s - 1."""
    pieces = Pieces()
    stream = labels.text_stream(WORDS, delay, 250, pieces)
    reader = WordReader(pieces, delay)
    heard = [
        word
        for frame, token in enumerate(stream[1:].tolist())
        for word in reader.push(frame, token)
    ]
    assert [word.text for word in heard] == [word.text for word in WORDS]
    for word, spoken in zip(heard, WORDS, strict=True):
        # "morning" begins before the pieces of "good" are out, so it may come a little late.
        assert -0.04 <= word.start / 12.5 - spoken.start <= 0.2
    assert [heard[i].start for i in (0, 3)] == [round(0.5 * 12.5), round(6.0 * 12.5)]


def test_a_word_that_does_not_fit_is_told_as_far_as_there_is_room():
    """Silence there would teach a model to count the steps."""
    whole = labels.text_stream(WORDS, 2, 250, Pieces())
    assert whole[37] == labels.NEW_WORD and whole[41] >= 4
    for steps in (42, 38, 37):
        np.testing.assert_array_equal(labels.text_stream(WORDS, 2, steps, Pieces()), whole[:steps])


def test_pauses_are_told_by_their_length():
    heads = labels.pauses(WORDS, 250, 20.0)
    at = {seconds: int(seconds * 12.5) + 2 for seconds in (0.2, 1.0, 2.0, 4.5, 7.0)}
    silent = labels.SILENT
    assert list(heads[:, at[1.0]] == silent) == [False] * 4  # within a word
    assert list(heads[:, at[2.0]] == silent) == [True, True, False, False]  # 1.6 s
    assert list(heads[:, at[4.5]] == silent) == [True, True, True, False]  # 2.4 s
    assert list(heads[:, at[7.0]] == silent) == [True] * 4
    short = labels.pauses(WORDS, 250, 6.9)
    assert list(short[:, int(6.5 * 12.5) + 1]) == [silent, *[labels.UNTOLD] * 3]


@pytest.mark.parametrize("steps", [10, 12])
def test_phones_lag_as_told(steps):
    told = labels.phones(np.arange(40, dtype=np.uint8), 2, steps)
    assert told.shape == (steps, 4) and (told[:2] == phones.UNKNOWN).all()
    assert list(told[2]) == [0, 1, 2, 3] and told[-1, -1] == 4 * (steps - 2) - 1
