"""The script alone: text to entries to tokens, against the reference and against common sense."""

import json
import random

import golden as fixtures
import pytest
import sentencepiece
from test_tts_golden import CASES

from dsm_mlx.lm.tokens import MAIN_SPEAKER, NEW_WORD, OTHER_SPEAKER, PADDING
from dsm_mlx.tts.machine import ScriptMachine
from dsm_mlx.tts.script import Entry, ScriptReader, word_tokenizer

TOKENIZER = fixtures.CHECKPOINTS / "tokenizers/tokenizer_spm_160_en_fr_audio.model"


@pytest.fixture(scope="module")
def tokenize():
    return word_tokenizer(sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZER)))


def letters(word: str) -> tuple[int, ...]:
    """A tokenizer for tests that do not care: one token a letter."""
    return tuple(10 + ord(ch) % 100 for ch in word)


def reader(**options) -> ScriptReader:
    return ScriptReader(options.pop("tokenize", letters), **options)


def entries_of(text: str, **options) -> list[Entry]:
    r = reader(**options)
    return r.feed(text) + r.end()


def words_of(text: str) -> list[str]:
    return [entry.text for entry in entries_of(text)]


def config_of(case: str) -> dict:
    name = fixtures.meta(case)["checkpoint"]
    return json.loads((fixtures.CHECKPOINTS / name / "config.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_entries_and_tokens_equal_the_reference(case, tokenize, golden):
    meta, config = fixtures.meta(case), config_of(case)
    for row, turns in enumerate(meta["scripts"]):
        r = reader(
            tokenize=tokenize,
            speakers="speaker_wavs" in config["conditioners"],
            padding_between=meta["padding_between"],
        )
        entries = []
        for i, text in enumerate(turns):
            entries += r.turn(i % 2) + r.feed(text)
        entries += r.end()
        assert [(list(e.tokens), e.text, e.padding) for e in entries] == [
            (e["tokens"], e["text"], e["padding"]) for e in meta["entries"][row]
        ]
        prefix = golden(case).get(f"prefix{row}")
        check_machine(meta, config, row, entries, 0 if prefix is None else prefix.shape[1])


def check_machine(meta, config, row, entries, first):
    machine = ScriptMachine(
        config["text_card"],
        config["tts_config"]["second_stream_ahead"],
        meta["max_padding"],
        meta["initial_padding"],
    )
    machine.add(entries)
    machine.end()
    consumed, transcript = [], []
    for step, (sampled, given) in enumerate(meta["logged_text_tokens"][row]):
        if step < first:
            continue
        token, entry = machine.step(step, sampled)
        assert token == given
        if entry:
            consumed.append(step)
            transcript += [[entry.text, step]] if entry.tokens else []
    assert consumed == meta["consumption_times"][row]
    assert transcript == meta["transcripts"][row]
    assert machine.end_step == meta["end_steps"][row]


TEXTS = [
    "Hello there, how are you?",
    'One <break time="500ms"/> two<break time="1.5s"/>three',
    "it\u2019s 10:30 (almost) <3 a<b, x < y > z",
    "  \n\t words \u00a0 and\u2003spaces ",
    "🙂 smile 👩‍👩‍👧 מילה \x00control\x07 e\u0301 \ud83d\ude00",
    "<<break time='2s'>> <",
    "",
]


@pytest.mark.parametrize("text", TEXTS)
def test_any_split_gives_the_same_entries(text):
    whole, rng = entries_of(text), random.Random(1)
    for _ in range(40):
        r, entries, rest = reader(), [], text
        while rest:
            cut = rng.randint(1, 6)
            entries += r.feed(rest[:cut])
            rest = rest[cut:]
        assert entries + r.end() == whole


@pytest.mark.parametrize("ahead", [0, 1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_text_in_pieces_gives_the_same_tokens(ahead, seed):
    """Where `blocked` says that text is missing, waiting for it leads to the same decisions."""
    rng = random.Random(seed)
    words = ["a", "bc", "def", '<break time="0.2s"/>', "ghijk,", "🙂"]
    text = " ".join(rng.choice(words) for _ in range(30))
    sampled = [rng.choice([NEW_WORD, PADDING, 77]) for _ in range(2000)]
    whole = ScriptMachine(200, ahead)
    whole.add(entries_of(text))
    whole.end()
    expected = [whole.step(i, token) for i, token in enumerate(sampled)]
    pieces, r = ScriptMachine(200, ahead), reader()
    waited, at = 0, 0
    for i, token in enumerate(sampled):
        while pieces.blocked:
            waited += 1
            cut = rng.randint(1, 4)
            if at < len(text):
                pieces.add(r.feed(text[at : at + cut]))
                at += cut
            else:
                pieces.add(r.end())
                pieces.end()
        offered = pieces.offered
        if at < len(text) and rng.random() < 0.5:  # text that comes while the model samples
            pieces.add(r.feed(text[at : at + 1]))
            at += 1
        assert pieces.step(i, token) == expected[i]
        assert offered[token != NEW_WORD] == expected[i][0]
    assert waited > 10 and pieces.end_step == whole.end_step is not None


def test_a_word_waits_for_the_word_that_the_second_stream_says():
    machine, r = ScriptMachine(200, 2, initial_padding=0), reader()
    for text, blocked in [("one ", True), ("two ", True), ('<break time="1s"/>', True)]:
        machine.add(r.feed(text))
        assert machine.blocked is blocked
    machine.add(r.feed("three"))
    assert machine.blocked  # the word may go on
    machine.add(r.feed("! "))
    assert not machine.blocked
    token, entry = machine.step(0, NEW_WORD)
    assert entry.text == "one" and token == 1 * 201 + MAIN_SPEAKER
    token, entry = machine.step(1, NEW_WORD)
    assert entry is None and token == (letters("three")[0] + 1) * 201 + letters("one")[0]


def test_the_speaker_is_named_when_it_changes():
    r = reader()
    entries = r.feed("a") + r.turn(1) + r.feed("b c") + r.turn(1) + r.feed("d") + r.turn(0)
    entries += r.feed("e") + r.end()
    firsts = [entry.tokens[0] for entry in entries if len(entry.tokens) > 1]
    assert [entry.text for entry in entries] == list("abcde")
    assert firsts == [MAIN_SPEAKER, OTHER_SPEAKER, MAIN_SPEAKER]


def test_a_third_voice_is_another_speaker_too():
    r = reader()
    entries = r.turn(1) + r.feed("b") + r.turn(2) + r.feed("c") + r.end()
    assert [entry.tokens[0] for entry in entries] == [OTHER_SPEAKER, OTHER_SPEAKER]


def test_a_model_without_speakers_is_not_told_of_them():
    assert [e.tokens for e in entries_of("a", speakers=False)] == [letters("a")]


@pytest.mark.parametrize(
    ("tag", "steps"),
    [
        ('<break time="500ms"/>', 6),
        ('<break time="0.5s"/>', 6),
        ('<break time="3s">', 38),
        ("<break  time='80ms' />", 1),
        ('<break time="0s"/>', 0),
        ('<break time="1.s"/>', 12),
    ],
)
def test_a_break_has_its_length(tag, steps):
    first, pause, second = entries_of(f"a{tag}b")
    assert (first.text, second.text) == ("a", "b")
    assert pause == Entry((), "", steps)


@pytest.mark.parametrize(
    "tag",
    [
        "<b>",
        "</b>",
        '<emphasis level="strong">',
        '<break time="0,5s"/>',
        '<break time="0x5s"/>',
        '<break time="-1s"/>',
        '<break strength="weak"/>',
        "<break/>",
        "<!-- note -->",
        "<say-as interpret-as='date'>",
        '<break time="99999s"/>',
        f'<break time="{"9" * 150}s"/>',
    ],
)
def test_any_other_tag_is_refused_by_name(tag):
    with pytest.raises(ValueError, match="break") as error:
        entries_of(f"hello {tag} there")
    assert tag in str(error.value)


def test_a_break_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match="not closed"):
        entries_of('hello <break time="1s"')


def test_what_only_looks_like_a_tag_is_text():
    assert words_of("1 < 2 <3 a<b") == ["1", "<", "2", "<3", "a<b"]
    assert "".join(words_of("<" + "x" * 500)) == "<" + "x" * 500


def test_cleaning_is_that_of_the_reference():
    assert words_of("it\u2019s 10:30 (now) «oui» “yes” --") == [
        "it's", "10", "30", "now", "«oui»", "“yes”", "--",
    ]  # fmt: skip


def test_emoji_and_control_characters_are_not_spoken():
    assert words_of("hi🙂 🎉 \x1b[0m \u200bzero\u200d ❤️ 1️⃣ ©2024") == [
        "hi", "[0m", "zero", "1", "©2024",
    ]  # fmt: skip


def test_other_scripts_stay_whole():
    assert words_of("שלום عالم 你好 naïve") == ["שלום", "عالم", "你好", "naïve"]


def test_what_the_tokenizer_does_not_know_is_left_out(tokenize):
    """Its id is 0, which would tell the model that a new word begins."""
    assert tokenize("שלום") == ()
    assert 0 not in tokenize("“hi”") and tokenize("“hi”")
    assert entries_of("שלום hi", tokenize=tokenize)[0].text == "hi"


def test_a_long_text_is_no_trouble():
    words = 100_000
    machine, r = ScriptMachine(200, 2), reader()
    machine.add(r.feed("word " * words) + r.end())
    machine.end()
    said = step = 0
    while machine.end_step is None:
        said += machine.step(step, NEW_WORD)[1] is not None
        step += 1
    assert said == words
