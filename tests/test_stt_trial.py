"""A phrase that was begun only because it is preferred: in doubt, then told or taken back."""

import numpy as np
import pytest
from streaming import all_free, fed, own, sound, words
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx.lm.tokens import NEW_WORD, PADDING
from dsm_mlx.results import Pause, Word
from dsm_mlx.stt.boost import Boost
from dsm_mlx.stt.clock import Timing
from dsm_mlx.stt.session import Session
from dsm_mlx.stt.steering import Following, Steering
from dsm_mlx.stt.tasks import Task
from dsm_mlx.stt.trial import Doubt

FRAME, RATE = 4, 8
PCM = sound(2.0, seed=2)
SIGN = 99


class Letters:
    """A tokenizer of letters, in which the first of a word is a piece of its own. a is 10."""

    def encode(self, text):
        return [
            10 + ord(c) - ord("a") + 40 * (i == 0) for w in text.split() for i, c in enumerate(w)
        ]

    def unk_id(self):
        return 1

    def id_to_piece(self, token):
        letter = "." if token == SIGN else chr(ord("a") + (token - 10) % 40)
        return letter if token < 50 or token == SIGN else f"\u2581{letter}"

    def decode(self, tokens):
        return "".join(self.id_to_piece(token) for token in tokens).replace("\u2581", " ")


def ids(text):
    return Letters().encode(text)


def following(boost, tokens):
    """What becomes of the phrase with the last of the tokens."""
    steering, found = Steering(boost), Following.NONE
    for token in tokens:
        found = steering.push(token, 0.1)
    return found


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ([*ids("abc"), NEW_WORD], Following.WHOLE),
        ([*ids("abc"), PADDING], Following.WHOLE),
        ([*ids("abc"), *ids("x")], Following.WHOLE),
        ([*ids("abc"), SIGN], Following.WHOLE),
        ([*ids("abc"), ids("ax")[1]], Following.BROKEN),  # its word goes on
        ([*ids("ab"), PADDING], Following.BROKEN),
        ([*ids("ab"), ids("ax")[1]], Following.BROKEN),
        (ids("abc"), Following.NONE),
        ([*ids("de"), NEW_WORD], Following.NONE),  # fg is to come
        ([*ids("de"), NEW_WORD, PADDING, *ids("f")], Following.NONE),
        ([*ids("de"), NEW_WORD, *ids("x")], Following.BROKEN),
        ([*ids("de"), NEW_WORD, *ids("a")], Following.BROKEN),  # which begins another one
        ([*ids("de"), 0, *ids("fg"), PADDING], Following.WHOLE),
        ([*ids("x"), NEW_WORD], Following.NONE),
    ],
)
def test_what_becomes_of_a_phrase(said, found):
    boost = Boost({"abc": 4.0, "de fg": 4.0}, Letters())
    assert following(boost, [NEW_WORD, *said]) == found


def test_a_phrase_within_a_longer_one_is_whole_by_itself():
    boost = Boost({"ab": 4.0, "ab cd": 4.0}, Letters())
    for said in ([*ids("ab"), PADDING], [*ids("ab"), *ids("c")], [*ids("ab"), 0, *ids("cd"), 0]):
        assert following(boost, [NEW_WORD, *said]) == Following.WHOLE


# ---- a row, with a model that says what it is told to say


def nothing(session):
    """More is to come."""


def finish(session):
    """The word in progress ends now."""
    session.queue.append(Task("finish"))


class Model:
    """Says `own`, a token a frame, unless something that is wished is among `talked`, the frames
    in which it can be talked into what is wished for; it finds that as `likely`."""

    def __init__(self, own, talked, likely=0.01):
        self.own, self.talked, self.likely = own, talked, likely

    def says(self, frame, wish):
        if wish and frame in self.talked:
            return wish.ids[0], self.likely
        return self.own[frame], 0.9


def run(model, boost, frames, end=Session.drain):
    """The session, its events, and how many frames were computed. The state of its row is the
    number of the next frame. end: what it is told after the sound."""
    timing = Timing(RATE * FRAME, RATE, FRAME, 0, 0, True)
    session = Session(0, Letters(), timing, boost=boost and Boost(boost, Letters()))
    session.feed(np.arange(1, frames * FRAME + 1, dtype=np.float32))
    end(session)
    at, computed, heard = None, 0, {}
    while True:
        session.prepare()
        if not session.ready:
            return session, list(session.events), computed
        if session.beginning is not None:
            at, session.beginning = session.beginning, None
        if session.keeps:
            session.keep(at)
        pcm, wish = session.next_frame(), session.wish()
        assert np.array_equal(heard.setdefault(at, pcm), pcm)  # the same each time
        token, probability = model.says(at, wish)
        session.take(token, [0.0] * 4, probability)
        at, computed = at + 1, computed + 1


OWN = [3, 0, *ids("xy"), 3, 0, *ids("z"), 3, 3, 0, *ids("uv"), 3] + [3] * 20


def told(events):
    return [(e.text, e.start, e.end) for e in events if isinstance(e, Word)]


def pauses(events):
    return [event.time for event in events if isinstance(event, Pause)]


def test_what_breaks_off_is_as_if_it_had_never_begun():
    _, plain, computed = run(Model(OWN, ()), None, 14)
    assert [text for text, *_ in told(plain)] == ["xy", "z", "uv"]
    _, events, again = run(Model(OWN, {2, 3}), {"abcd": 4.0}, 14)  # ab, and then padding
    assert (told(events), pauses(events)) == (told(plain), pauses(plain))
    assert again == computed + 3
    _, events, again = run(Model(OWN, {2, 6, 10}), {"abcd": 4.0}, 14)
    assert (told(events), pauses(events)) == (told(plain), pauses(plain))
    assert again > computed + 3


def test_what_is_whole_is_told_with_its_own_times():
    _, events, computed = run(Model(OWN, {2, 3}), {"ab": 4.0}, 14)
    _, plain, same = run(Model(OWN, ()), None, 14)
    assert [text for text, *_ in told(events)] == ["ab", "z", "uv"] and computed == same
    assert [times for _, *times in told(events)] == [times for _, *times in told(plain)]
    assert pauses(events) == pauses(plain)


def test_a_whole_phrase_that_the_model_finds_all_too_unlikely_is_taken_back():
    _, plain, computed = run(Model(OWN, ()), None, 14)
    for end in (Session.drain, nothing):
        for likely, word in ((4e-4, "ab"), (2e-4, "xy")):
            _, events, _ = run(Model(OWN, {2, 3}, likely), {"ab": 4.0}, 14, end)
            assert told(events)[0][0] == word and pauses(events) == pauses(plain)
    _, events, again = run(Model(OWN, {2, 3}, 1e-9), {"ab": 4.0}, 14)
    assert told(events) == told(plain) and again == computed + 3
    for likely, word in ((4e-4, "ab"), (2e-4, "xy")):  # at an end
        _, events, _ = run(Model([3, 0, *ids("xy")], {2, 3}, likely), {"ab": 4.0}, 4, finish)
        assert [text for text, *_ in told(events)] == [word]


def test_words_are_kept_back_until_their_phrase_is_whole():
    model = Model([3, 0, *ids("xy"), 3, 0, *ids("cd"), 3] + [3] * 20, {2, 3})
    session, events, _ = run(model, {"ab cd": 4.0}, 7, nothing)
    assert session.doubt.trial and told(events) == []
    _, events, _ = run(model, {"ab cd": 4.0}, 9, nothing)
    assert [text for text, *_ in told(events)] == ["ab", "cd"]


def test_a_phrase_that_does_not_go_on_is_given_up_in_time():
    own = [3, 0, *ids("xy")] + [3] * 40
    session, events, _ = run(Model(own, {2, 3}), {"ab cd": 4.0}, 4 + RATE, nothing)
    assert session.doubt.trial and told(events) == []
    _, events, _ = run(Model(own, {2, 3}), {"ab cd": 4.0}, 5 + 2 * RATE, nothing)
    assert [text for text, *_ in told(events)] == ["xy"]
    assert pauses(events) == sorted(set(pauses(events))) and len(pauses(events)) == 5 + 2 * RATE


@pytest.mark.parametrize(("phrase", "text"), [("ab", "ab"), ("abcd", "xy")])
def test_an_end_settles_it(phrase, text):
    """Right after the last piece of a whole phrase, and of one that is not."""
    session, events, _ = run(Model([3, 0, *ids("xy")], {2, 3}), {phrase: 4.0}, 4, finish)
    assert [t for t, *_ in told(events)] == [text]
    assert session.idle and session.doubt.trial is None


# ---- a model


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("trial")))


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_phrases_that_never_get_whole_change_nothing(stt, temperature, monkeypatch):
    """Live and in a batch; it is longer than the sound."""
    given_up = []
    withdraw = Doubt.withdraw

    def counted(self):
        trial = withdraw(self)
        given_up.append(trial is not None)
        return trial

    monkeypatch.setattr(Doubt, "withdraw", counted)
    options = {"temperature": temperature, "seed": 4}
    never = {" ".join(["we knew it was so"] * 5): 7.0}
    plain = fed(stt, PCM, **options)
    assert words(plain)
    assert words(fed(stt, PCM, boost=never, **options)) == words(plain)
    assert sum(given_up) >= 3
    results = stt.transcribe([PCM] * 3, sample_rate=24_000, boost=never, **options)
    assert all([w.text for w in r.words] == [t for t, _ in words(plain)] for r in results)
    assert all_free(stt)
