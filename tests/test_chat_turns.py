"""Whose turn it is: what follows from words, pauses and ends, as plain values."""

import pytest

from dsm_mlx import EndOfTurn, Pause, Word
from dsm_mlx import Partial as PartialWord
from dsm_mlx.chat import Heard, Partial, TakenBack, TurnEnded
from dsm_mlx.chat.turns import Answer, Finish, Keep, Manners, Stop, TurnTaking, Withdraw

DELAY, PATIENCE = 0.4, 0.6


class Ear:
    """Drives a TurnTaking along a clock of sound: silent frames up to a time, words as they become
    known, by `DELAY` after their start."""

    def __init__(self):
        self.turns, self.steps = TurnTaking(PATIENCE, DELAY), []

    def frames(self, until, speech=()):
        """Frames up to `until`; somebody speaks from speech[0] to speech[1]."""
        while self.turns.now + 0.08 <= until + 1e-9:
            now = round(self.turns.now + 0.08, 6)
            quiet = not (speech and speech[0] < now <= speech[1])
            self.steps += self.turns.pause(Pause(now, {0.5: 0.9 if quiet else 0.1}))
        return self

    def word(self, text, start, end=None):
        """As it becomes known."""
        self.steps += self.turns.word(Word(text, start, end or start + 0.2))
        return self

    def partial(self, text):
        self.steps += self.turns.partial(PartialWord(text, self.turns.now))
        return self

    def end(self):
        """The end of a turn is seen, and the last words are brought out."""
        self.steps += self.turns.end(EndOfTurn(self.turns.now))
        self.steps += self.turns.finished(self.turns.now)
        return self

    def answered(self, heard_from=None):
        self.turns.begun()
        if heard_from is not None:
            self.turns.sounds(heard_from)
        return self

    def took(self):
        """What was to be done since the last call, without what only tells of words."""
        steps, self.steps = self.steps, []
        return [step for step in steps if not isinstance(step, (Heard, Partial))]


def asked():
    """Somebody said "what time", and it ended at 2 s."""
    ear = Ear().frames(1.0).word("what", 0.5).word("time", 0.8).frames(2.0).end()
    finish, ended, answer = ear.took()
    assert (finish, ended) == (Finish(2.0), TurnEnded("what time", 2.0))
    assert answer == Answer("what time", 1.0)
    return ear


def test_words_gather_into_a_turn():
    ear = Ear().frames(0.96).word("what", 0.5).partial("ti").word("time", 0.8)
    texts = [(type(step), step.text) for step in ear.steps]
    assert texts == [(Heard, "what"), (Partial, "what ti"), (Heard, "what time")]
    assert all(step.time == 0.96 for step in ear.steps)


def test_an_end_is_a_turn_when_its_last_words_are_there():
    ear = Ear().frames(1.0).word("what", 0.5)
    assert ear.turns.end(EndOfTurn(1.0)) == [Finish(1.0)]
    ear.word("time", 0.8)  # which the silence of a flush brought out
    assert ear.turns.finished(1.0)[0].text == "what time"


def test_a_turn_of_nothing_is_no_turn():
    ear = asked()
    ear.answered(2.3)
    ear.turns.over()
    assert ear.frames(5.0).end().took() == [Finish(pytest.approx(5.0, abs=0.08))]


def test_words_within_a_moment_take_the_turn_back():
    ear = asked().answered()
    ear.frames(2.8).word("is", 2.5)
    assert ear.took() == [Withdraw(), TakenBack("what time is", pytest.approx(2.8, abs=0.08))]
    _, ended, answer = ear.word("it", 2.9).frames(4.0).end().took()
    assert ended.text == answer.text == "what time is it"
    assert answer.last_word == pytest.approx(3.1)


def test_so_does_a_word_in_progress():
    ear = asked().answered()
    ear.frames(2.8).partial("i")  # begun at 2.4
    assert [type(step) for step in ear.took()] == [Withdraw, TakenBack]
    assert ear.word("is", 2.4).took() == []


def test_a_word_in_progress_that_comes_to_nothing_ends_the_turn_again():
    ear = asked().answered()
    ear.frames(2.8).partial("i").took()
    (finish,) = ear.frames(6.0).took()
    assert finish.time == pytest.approx(2.8 + DELAY + 2.0, abs=0.16)
    assert [step.text for step in ear.turns.finished(finish.time)] == ["what time"] * 2


def test_what_was_begun_before_the_answer_was_heard_takes_it_back_even_when_it_is_known_later():
    ear = asked().answered(heard_from=2.3)
    assert [type(step) for step in ear.frames(2.6).word("is", 2.2).took()] == [Withdraw, TakenBack]


def test_what_was_begun_after_that_does_not():
    ear = asked().answered(heard_from=2.3)
    assert ear.frames(2.8).word("is", 2.4).took() == []
    assert ear.turns.text == "is"


def test_after_the_moment_it_is_a_new_turn_that_stops_the_thinking():
    ear = asked().answered()
    assert ear.frames(5.0).word("or", 4.5).took() == []
    assert ear.word("wait", 4.7).took() == [Stop()]
    _, ended, _ = ear.frames(7.0).end().took()
    assert ended.text == "or wait"


def test_a_whole_turn_of_a_word_stops_the_thinking_too():
    ear = asked().answered()
    steps = ear.frames(5.0).word("or", 4.5).end().took()
    assert [type(step) for step in steps] == [Finish, Stop, TurnEnded, Answer]


def test_two_words_stop_the_assistant():
    ear = asked().answered(2.5)
    assert ear.frames(5.0).word("no", 4.5).took() == []
    assert ear.word("wait", 4.7).took() == [Stop()]
    assert ear.turns.text == "no wait"


def test_a_word_and_the_beginning_of_another_stop_it():
    ear = asked().answered(2.5)
    ear.frames(5.0).word("no", 4.5)
    assert ear.partial("wa").took() == [Stop()]


def test_a_word_and_some_speech_stop_it():
    ear = asked().answered(2.5)
    ear.frames(5.0, speech=(4.5, 4.9))
    assert ear.word("stop", 4.5).took() == [Stop()]


def test_speech_that_goes_on_after_a_short_word_stops_it():
    ear = asked().answered(2.5)
    assert ear.frames(5.0, speech=(4.7, 4.85)).word("stop", 4.7).took() == []
    assert ear.frames(5.4, speech=(4.9, 5.4)).took() == [Stop()]


def test_a_short_sound_does_not_and_begins_the_next_turn():
    ear = asked().answered(2.5)
    ear.frames(5.0, speech=(4.7, 4.85)).word("mm", 4.7)
    assert [type(step) for step in ear.end().took()] == [Finish]
    assert ear.turns.over() == []
    assert ear.frames(9.0).word("thanks", 8.5).frames(10).end().took()[1].text == "mm thanks"


def test_short_sounds_long_after_each_other_do_not():
    ear = asked().answered(2.5)
    for second in (5.0, 10.0, 15.0):
        ear.frames(second).word("mm", second - 0.3)
    assert ear.took() == []


def test_speech_without_a_word_does_not():
    ear = asked().answered(2.5)
    assert ear.frames(9.0, speech=(3.0, 9.0)).took() == []


def test_a_turn_over_which_something_was_said_is_answered_after_it():
    """As when a greeting begins while somebody speaks."""
    ear = Ear().frames(1.0).word("what", 0.3).word("time", 0.6).word("is", 0.8)
    ear.answered(0.9)
    assert [type(step) for step in ear.frames(3.0).end().took()] == [Finish]
    ended, answer = ear.turns.over()
    assert ended.text == answer.text == "what time is"


def test_stopping_from_outside():
    ear = asked().answered(2.5)
    assert ear.turns.stop() == [Stop()]
    assert ear.turns.stop() == []


def test_nothing_grows_with_time():
    ear = asked().answered(2.5)
    ear.frames(200.0, speech=(3, 200))
    assert len(ear.turns._speech) < 150


def test_manners():
    """Ends that do not count, turns that are kept, and an assistant that nobody stops."""
    manners = Manners(ends=False, answers=False, interruptible=False)
    turns = TurnTaking(0.6, 0.4, manners)
    turns.word(Word("one", 1.0, 1.2))
    assert turns.end(EndOfTurn(2.0)) == [] and turns.start == 1.0
    assert turns.committed() == [TurnEnded("one", 0.0), Keep("one", 1.2)]
    assert turns.committed() == [TurnEnded("", 0.0), Keep("", None)]
    turns.begun()
    steps = turns.word(Word("two", 1.3, 1.5)) + turns.word(Word("three", 1.6, 1.8))
    assert not any(isinstance(step, (Stop, Withdraw)) for step in steps)
    assert turns.cleared() == [Heard("", 0.0)] and turns.text == ""
    manners.answers = manners.interruptible = True
    turns.word(Word("four", 2.0, 2.2))
    steps = turns.committed()
    assert steps == [Stop(), TurnEnded("four", 0.0), Answer("four", 2.2)]
