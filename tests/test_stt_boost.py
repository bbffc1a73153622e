"""Phrases that are preferred: the tree, the step that grants wishes, streams, and a batch."""

import itertools
import json
from functools import partial

import mlx.core as mx
import numpy as np
import pytest
from mlx.utils import tree_flatten, tree_map
from streaming import all_free, fed, forked, own, rest, resumed, sound, without_partials, words
from streaming import never_for_ever as never_for_ever

import dsm_mlx
from dsm_mlx.lm.sampling import Steer, steered
from dsm_mlx.lm.tokens import NEW_WORD
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime.worker import complete
from dsm_mlx.stt.boost import ROOT, STRENGTH, SURE, Boost, Place, check_boost
from dsm_mlx.stt.core import SttCore
from dsm_mlx.stt.steering import Steering, Wish
from dsm_mlx.stt.step import SttStep, steer_of

RATE = 24_000
PCM = sound(2.0, seed=2)  # of which the small model says words that have a boundary


@pytest.fixture(scope="module")
def stt(small, tmp_path_factory):
    return dsm_mlx.load_stt(own(small("stt-tiny"), tmp_path_factory.mktemp("boost")))


class Letters:
    """A tokenizer of letters, in which the first of a word is a piece of its own. a is 10."""

    def encode(self, text):
        return [self._id(c, i == 0) for word in text.split() for i, c in enumerate(word)]

    def _id(self, letter, first):
        at = "abcdefgh".find(letter)
        return 0 if at < 0 else 10 + at + 20 * first

    def unk_id(self):
        return 0

    def id_to_piece(self, token):
        return "\u2581x" if token >= 30 else "x"


def ids(text):
    return Letters().encode(text)


# ---- the tree


def walk(boost, tokens, probability=1.0):
    """What is wished after each token."""
    steering, found = Steering(boost), []
    for token in tokens:
        steering.push(token, probability)
        wish = steering.wish()
        found.append(dict(zip(wish.ids, wish.values, strict=True)) if wish else {})
    return found


def test_a_phrase_is_followed_piece_by_piece():
    boost = Boost({"abc de": 2.0}, Letters())
    a, b, c, d, e = ids("abc de")
    said = [3, 0, a, b, c, 3, 0, d, e, 0]
    expected = [{}, {a: 1}, {b: 2}, {c: 2}, {d: 2}, {}, {a: 1, d: 2}, {e: 2}, {}, {a: 1}]
    assert walk(boost, said) == expected


def test_a_word_that_ends_elsewhere_ends_the_phrase():
    boost = Boost({"abc": 2.0, "ad ef": 1.0}, Letters())
    a, b, c = ids("abc")
    d, e = ids("ad")[1], ids("ef")[0]
    begun = [{a: 1}, {b: 2, d: 1}]
    assert walk(boost, [0, a]) == begun
    assert walk(boost, [0, a, 0, b]) == [*begun, {a: 1}, {}]  # b begins no word here
    assert walk(boost, [0, a, d, 3, 0, e])[-2:] == [{a: 1, e: 1}, {ids("ef")[1]: 1}]
    assert walk(boost, [0, a, d, c]) == [*begun, {e: 1}, {}]
    assert walk(boost, [0, a, d, a]) == [*begun, {e: 1}, {b: 2, d: 1}]


def test_what_was_spent_is_lost_with_the_phrase():
    """Going on is worth as much more as was given for pieces that the model would not have said;
    elsewhere nothing is left of it."""
    boost = Boost({"abcd": 2.0}, Letters())
    a, b, c, d = ids("abcd")
    assert walk(boost, [0, a, b, c], 0.1) == [{a: 1}, {b: 3}, {c: 5}, {d: 7}]
    assert walk(boost, [0, a, b, 3, 0], 0.1)[-1] == {a: 1}
    assert walk(boost, [0, a, b, c], 0.9)[-1] == {d: 2}
    strong = Boost({"abcd": 15.0}, Letters())
    assert walk(strong, [0, a], 0.1)[-1] == {b: 20}


def test_spellings(stt):
    lower = Boost({"ABC": 1.0}, Letters())  # a tokenizer without capitals
    assert walk(lower, [0])[0] == {ids("a")[0]: 0.5}
    tokenizer = stt._core.tokenizer
    both = Boost({"the one": 1.0}, tokenizer).wishes(ROOT, 0)[0]
    assert set(both) == {tokenizer.encode("the one")[0], tokenizer.encode("The one")[0]}
    assert len(both) == 2
    assert Boost({"The one": 1.0}, tokenizer).wishes(ROOT, 0)[0] == both[1:]


def test_the_place_is_plain():
    boost = Boost({"abc": 2.0, "ab de": 1.0}, Letters())
    for count, last in itertools.product(range(6), (0, 3)):
        one = Steering(boost)
        for token in [0, *ids("ab"), last, *ids("de")][:count]:
            one.push(token, 0.2)
        other = Steering(boost)
        other.restore(json.loads(json.dumps(one.plain())))
        assert other.plain() == one.plain() and other.wish() == one.wish()
        assert isinstance(other._at, Place)


@pytest.mark.parametrize(
    ("boost", "error", "told"),
    [
        ("Anna", TypeError, r"boost is 'Anna' \(expected a list of phrases, or phrase -> strength"),
        (7, TypeError, "boost is 7"),
        ([7], TypeError, r"a phrase of boost is 7 \(expected str\)"),
        ([" "], ValueError, r"a phrase of boost is ' ' \(expected a word or more\)"),
        ({"it": -1}, ValueError, r"the strength of 'it' is -1 \(expected 0 to 20\)"),
        ({"it": 20.5}, ValueError, r"the strength of 'it' is 20.5 \(expected 0 to 20\)"),
        ({"it": float("nan")}, ValueError, "the strength of 'it' is nan"),
        ({"it": "much"}, TypeError, r"the strength of 'it' is 'much' \(expected a number\)"),
        (["日本"], ValueError, "a phrase of boost is '日本' .expected one that the model's"),
        (["it " * 65], ValueError, "65 tokens, expected at most 64"),
        (
            [f"it {i}" for i in range(501)],
            ValueError,
            "boost has 501 phrases .expected at most 500",
        ),
    ],
)
def test_phrases_that_are_none(stt, boost, error, told):
    for call in (stt.stream, lambda boost: stt.transcribe_events([PCM], boost=boost)):
        with pytest.raises(error, match=told):
            call(boost=boost)
    assert all_free(stt)


def test_phrases_are_read():
    assert check_boost(None) is check_boost([]) is check_boost({}) is None
    assert check_boost([" New \n York "]) == {"New York": STRENGTH}
    assert check_boost({"a": None, "b": 2}) == {"a": STRENGTH, "b": 2.0}


# ---- the step


def test_a_model_that_is_sure_is_not_talked_into_a_phrase():
    """The first piece alone asks for that: what follows it goes on with what was begun."""
    logits = mx.log(mx.array([[0.2, 0.8, 1e-4], [0.4, 0.6, 1e-4], [0.01, 0.98, 0.01]]))
    wishes = [Wish((2,), (9.0,), sure=SURE)] * 2 + [Wish((2,), (9.0,))]
    assert mx.argmax(steered(logits, steer_of(wishes)), axis=-1).tolist() == [1, 2, 2]
    unsure = steered(logits, steer_of([Wish((2,), (9.0,), sure=SURE)] * 3))
    assert mx.array_equal(unsure[::2], logits[::2])


def test_the_first_piece_alone_asks_whether_the_model_is_sure():
    steering = Steering(Boost({"abc": 6.0}, Letters()))
    steering.push(NEW_WORD, 0.9)
    assert steering.wish().sure == SURE < 1
    steering.push(ids("abc")[0], 0.1)
    assert steering.wish().sure > 1


def test_wishes_are_granted():
    logits = mx.array([[1.0, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]])
    wishes = [None, Wish((2,), (5.0,)), Wish((0, 3), (0.0, 1.0), only=True)]
    inf = float("inf")
    assert steered(logits, steer_of(wishes)).tolist() == [
        [1, 2, 3, 4], [1, 2, 8, 4], [1, -inf, -inf, 5],
    ]  # fmt: skip
    assert steer_of([None, None]) is None
    sizes = [steer_of([Wish((1,) * n, (0.0,) * n), None]).ids.shape for n in (1, 4, 5, 17, 65)]
    assert sizes == [(2, 4), (2, 4), (2, 16), (2, 64), (2, 256)]


@pytest.mark.thorough
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize("resting", [False, True])
def test_rows_without_wishes_are_as_they_were(small, monkeypatch, compiled, sampled, resting):
    """To the last bit, next to rows with some, of which only the token differs."""
    monkeypatch.setenv("DSM_MLX_COMPILE", str(int(compiled)))
    core = complete(SttCore.load(Checkpoint.find(small("stt-tiny"), "stt"), LoadOptions()))
    step = SttStep(core.lm, core.codec)
    one = step.beginning(None, 0.9 * sampled, 3)
    state = tree_map(lambda array: mx.concatenate([array] * 3), one)
    active = mx.array([True, True, False]) if resting else None
    pcm = np.random.default_rng(1).normal(0, 0.2, (3, 1920)).astype(np.float32)

    def run(wishes):
        begun = tree_map(mx.array, state)
        output, after = step(mx.array(pcm), begun, active, sampled, None, steer_of(wishes))
        mx.eval(output, after)
        return output, after

    plain, after = run([None] * 3)
    token = int(plain.text[1])
    other = next(t for t in (5, 6) if t != token)
    output, later = run([None, Wish((other,), (99.0,)), Wish((0,), (0.0,), only=True)])
    rows = [0, 2] if resting else [0]
    for a, b in zip(plain, output, strict=True):
        assert np.array_equal(np.array(a)[0], np.array(b)[0])
    for (name, a), (_, b) in zip(tree_flatten(after), tree_flatten(later), strict=True):
        parts = [np.array(x.astype(mx.float32)).reshape(3, -1)[rows] for x in (a, b)]
        assert np.array_equal(*parts), name
    assert int(output.text[1]) == other
    assert np.array_equal(np.array(plain.pauses), np.array(output.pauses))
    if not resting:
        assert int(output.text[2]) == 0


def test_the_probability_is_that_of_the_model_alone(small):
    core = complete(SttCore.load(Checkpoint.find(small("stt-tiny"), "stt"), LoadOptions()))
    pcm = mx.array(PCM[None, :1920])
    found = []
    for token in range(core.lm.config.text_card_out):
        steer = Steer(mx.array([[token]]), mx.array([[0.0]]), mx.array([True]), mx.array([1.0]))
        output, _ = core.step(pcm, core.step.beginning(), steer=steer)
        assert output.text.item() == token
        found.append(output.probability.item())
    assert sum(found) == pytest.approx(1, abs=1e-4) and max(found) < 0.99


# ---- streams


def boosts():
    return [None, {"we": 9.0}, ["the one", "it is"], {"you": 20.0, "we knew": 6.0}]


def test_boosting_changes_what_is_heard_and_nothing_does_not(stt):
    plain = fed(stt, PCM)
    assert fed(stt, PCM, boost={"we": 0.0}) == plain == fed(stt, PCM, boost=[])
    boosted = fed(stt, PCM, boost={"we": 20.0, "the": 20.0})
    assert boosted != plain
    begun = [text for text, _ in words(boosted) if text.startswith(("we", "the", "We", "The"))]
    assert begun


@pytest.mark.thorough
@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_rows_of_a_batch_have_phrases_of_their_own(stt, temperature):
    """Live and recordings, alone and together; while no live stream is open frames run ahead."""
    options = [{"boost": b, "temperature": temperature, "seed": 1} for b in boosts()]
    alone = [fed(stt, PCM, **one) for one in options]
    assert len({tuple(words(events)) for events in alone}) > 1
    streams = [stt.stream(**one) for one in options]
    for start in range(0, PCM.size, 4000):
        for stream in streams:
            stream.give(PCM[start : start + 4000])
    assert [without_partials(rest(stream)) for stream in streams] == alone
    for one, events in zip(options, alone, strict=True):
        results = stt.transcribe([PCM] * 3, sample_rate=RATE, batch=3, **one)
        assert all([w.text for w in r.words] == [t for t, _ in words(events)] for r in results)


def test_forked_and_saved_in_the_middle_of_a_phrase(stt):
    options = {"boost": {"we knew it": 20.0, "the": 8.0}}

    def play(between):
        stream, events = stt.stream(**options), []
        for start in range(0, PCM.size, 1920):
            stream = between(stream)
            events += stream.feed(PCM[start : start + 1920])
        events += stream.reset() + stream.feed(PCM) + stream.flush()
        stream.close()
        return events

    doubts = []

    def noted(stream):
        doubts.append(stream._session.doubt.trial is not None)
        return forked(stream)

    whole = play(lambda stream: stream)
    assert play(noted) == whole and play(partial(resumed, stt)) == whole
    assert set(doubts) == {False, True}
    assert all_free(stt)
