"""Tokens to words, levels to pauses, pauses to turns: pure Python, no model."""

import numpy as np
import pytest

from dsm_mlx import CheckpointError
from dsm_mlx.options import TurnPolicy
from dsm_mlx.results import Word
from dsm_mlx.stt.clock import Clock
from dsm_mlx.stt.pauses import LENGTHS, EnergyPauses, TurnDetector
from dsm_mlx.stt.words import WordReader, settle_ends

PIECES = ["<0>", "<1>", "<2>", "<3>", "▁hel", "lo", "▁big", "▁world", "."]
BOUNDARY, PADDING, HEL, LO, BIG, WORLD, STOP = 0, 3, 4, 5, 6, 7, 8


class Tokenizer:
    """Stands for a SentencePieceProcessor with a handful of pieces."""

    def id_to_piece(self, token):
        return PIECES[token]

    def decode(self, tokens):
        return "".join(PIECES[token] for token in tokens).replace("▁", " ").strip()


def read(tokens, delay=2):
    reader = WordReader(Tokenizer(), delay)
    words = [
        (frame, *word[:3])
        for frame, token in enumerate(tokens)
        for word in reader.push(frame, token)
    ]
    return words, [word[:3] for word in reader.finish()]


def test_a_word_follows_a_boundary_and_ends_at_padding():
    words, rest = read([3, 3, BOUNDARY, HEL, LO, PADDING, 3, 3])
    assert words == [(5, "hello", 2, 5)] and rest == []


def test_a_boundary_ends_a_word_and_starts_the_next():
    words, rest = read([BOUNDARY, HEL, LO, BOUNDARY, WORLD, STOP, 3])
    assert words == [(3, "hello", 0, 3), (6, "world.", 3, 6)] and rest == []


def test_a_word_without_a_boundary_starts_where_the_last_one_ended():
    words, _ = read([BOUNDARY, BIG, WORLD, 3, 3, HEL, LO, 3])
    assert words == [(2, "big", 0, 2), (3, "world", 2, 3), (7, "hello", 3, 7)]


def test_the_last_word_is_given_out_when_no_sound_comes():
    assert read([BOUNDARY, HEL, LO]) == ([], [("hello", 0, 2)])


def test_a_token_that_the_tokenizer_does_not_have_is_the_models_fault():
    """As of a model whose tokenizer is another one's, with fewer pieces."""
    with pytest.raises(CheckpointError, match="token 9, which its tokenizer does not have"):
        read([BOUNDARY, HEL, len(PIECES)])


@pytest.mark.parametrize("delay", [2, 6, 31])
def test_the_delay_moves_all_times_back(delay):
    words, _ = read([BOUNDARY, HEL, LO, PADDING], delay)
    assert words == [(3, "hello", 2 - delay, 5 - delay)]


def test_a_words_confidence_is_the_geometric_mean_of_its_tokens():
    reader = WordReader(Tokenizer(), 2)
    found = []
    for frame, (token, p) in enumerate([(BOUNDARY, 0.1), (HEL, 0.9), (LO, 0.4), (PADDING, 0.2)]):
        found += reader.push(frame, token, p)
    for frame, (token, p) in enumerate([(WORLD, 0.0), (BIG, 1.0)], 4):
        found += reader.push(frame, token, p)
    confidences = [word.confidence for word in found + reader.finish()]
    assert confidences == pytest.approx([0.6, 0.0, 1.0], abs=1e-4)


@pytest.mark.parametrize(
    "values", [{"pause": 1.5}, {"threshold": 1.2}, {"frames": 0}, {"rearm": float("nan")}]
)
def test_a_policy_out_of_range(values):
    with pytest.raises(ValueError, match=next(iter(values))):
        TurnPolicy(**values)


def test_another_policy_ends_turns_at_other_times():
    sure = [{length: 0.9 for length in LENGTHS}] * 6

    def ends(policy):
        detector = TurnDetector(12.5, policy)
        for _ in range(13):
            detector.push(dict.fromkeys(LENGTHS, 0.0))
        detector.word()
        return [detector.push(probabilities) for probabilities in sure].index(True)

    assert ends(TurnPolicy()) == 2 and ends(TurnPolicy(frames=1)) == 0
    assert ends(TurnPolicy(pause=0.5, threshold=0.8, frames=5)) == 4


def test_boundaries_alone_say_nothing():
    assert read([BOUNDARY, BOUNDARY, PADDING, BOUNDARY]) == ([], [])


def test_ends_are_settled_by_the_next_word_but_not_across_a_pause():
    words = [Word("a", 0.0, 0.2), Word("b", 0.6, 0.8), Word("c", 3.0, 3.2)]
    assert settle_ends(words) == [Word("a", 0.0, 0.6), Word("b", 0.6, 0.8), Word("c", 3.0, 3.2)]


def frames(detector, values):
    return [i for i, p in enumerate(values) if detector.push(dict.fromkeys(LENGTHS, p))]


def test_a_turn_ends_once_and_only_after_a_word():
    detector = TurnDetector(12.5, TurnPolicy())
    assert frames(detector, [0.9] * 40) == []  # nobody has spoken
    detector.word()
    assert frames(detector, [0.1, *[0.9] * 5, 0.4, *[0.9] * 5]) == [3]
    assert frames(detector, [0.1, *[0.9] * 5]) == []  # no word since
    detector.word()
    assert frames(detector, [0.9]) == [0]


def test_a_turn_does_not_end_in_a_moment():
    detector = TurnDetector(12.5, TurnPolicy())
    frames(detector, [0.0] * 20)
    detector.word()
    assert frames(detector, [0.9, 0.9, 0.4, 0.9, 0.9, 0.1, 0.9, 0.9]) == []
    assert frames(detector, [0.9]) == [0]


def test_no_turn_ends_twice_while_the_probability_flickers():
    detector = TurnDetector(12.5, TurnPolicy())
    frames(detector, [0.0] * 20)
    detector.word()
    assert frames(detector, [0.6] * 3) == [2]
    detector.word()
    assert frames(detector, [0.4, 0.6, 0.45, *[0.7] * 5]) == []  # it never fell below 0.3
    assert frames(detector, [0.2, *[0.7] * 3]) == [3]


def test_the_first_second_is_not_trusted():
    detector = TurnDetector(12.5, TurnPolicy())
    detector.word()
    for _ in range(2):
        assert frames(detector, [0.9] * 13) == []
        detector.restart()  # after a reset the first second comes again
    assert frames(detector, [0.9] * 16) == [15]


@pytest.mark.parametrize("gain", [1.0, 0.05])
def test_energy_tells_pauses_at_any_level(gain):
    rng = np.random.default_rng(0)
    detector = EnergyPauses(12.5)
    noise = [gain * 0.002 * rng.standard_normal(1920) for _ in range(30)]
    speech = [gain * 0.1 * rng.standard_normal(1920) for _ in range(30)]
    quiet = [detector.push(pcm.astype(np.float32)) for pcm in noise]
    loud = [detector.push(pcm.astype(np.float32)) for pcm in speech]
    after = [detector.push(pcm.astype(np.float32)) for pcm in noise]
    assert quiet[-1][:3] == [1.0, 1.0, 1.0] and quiet[-1][3] == pytest.approx(30 * 0.08 / 3)
    assert all(p == [0.0] * 4 for p in loud)
    assert after[-1] == quiet[-1]


def test_the_clock_stands_still_while_silence_is_added():
    clock = Clock(100)
    clock.advance(50, audio=False)  # a prefix
    clock.advance(200, audio=True)
    clock.advance(100, audio=False)  # a flush
    clock.advance(100, audio=True)
    heard = [0, 50, 150, 250, 300, 350, 400]
    assert [clock.seconds(at) for at in heard] == [0, 0, 1, 2, 2, 2, 2.5]
    assert clock.seconds(-20) == 0 and clock.now == 3
