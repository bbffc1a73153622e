"""Text that comes in pieces: nothing depends on where it is cut, and little waits."""

import random

import pytest
from reading import captions, heard, read, reader_of, said

from dsm_mlx.tts.script import ScriptReader
from dsm_mlx.tts.text.lexicon import Lexicon
from dsm_mlx.tts.text.phrases import MOST_AHEAD
from dsm_mlx.tts.text.wording import Wording

PIECES = [
    *("<", "<b>", "<break time='1s'/>", "<break", " time=", "'1s'", "/>", ">", "<!--", "-->"),
    *(" ", " ", " ", " ", "\n", "\n\n", "\r\n", "\u00a0", "\u202f", "\u2028", "\u200b"),
    *("# ", "- ", "1. ", "> ", "```", "~~~", "`", "**", "*", "_", "[", "](", "http://x.org/z"),
    *(")", "![", "[^1]", "[^", "]", "|", "|---|", "\\", "&amp;", "&#32;"),
    *("$", "5", ".50", "€", "km", "million", "k", "1,234", "10 000", "/4", "/2025", "-", "\u2013"),
    *("March", "May", "mars", "1er", "3rd", "h", "14h30", "10:30", "pm", "a.m.", "%", "²", "½"),
    *("06", "12", "+33", "(555)", "123-4567", "No.", "Dr.", "M.", "#", "&", "+", "=", "@"),
    *("\uff11", "ﬁ", "é", "e\u0301", "🙂", "שלום", "٣", "\x00", "\ud83d", "a@b.co", "example.com"),
    *("the", "les", "and", "New", "York", "word", "'", "\u2019", '"', "«", "»", "!", "?", ":"),
    *(",", "…", "x" * 70, "9" * 30),
]
LEXICON = {"New York": "nu yok", "york": "yawk", "word the word": "hi", "5": "fife"}


@pytest.mark.parametrize("normalize", ["en", "fr", "auto", None])
def test_any_split_gives_the_same_entries(normalize):
    rng = random.Random(f"{normalize}")
    several = 0
    for i in range(400):
        text = "".join(rng.choices(PIECES, k=rng.randrange(1, 30)))
        options = {"lexicon": LEXICON if i % 2 else None, "refused": lambda _: None}
        whole = read(text, normalize, **options)
        for _ in range(2):
            cut = lambda: rng.choice([1, 1, 2, 3, 10])  # noqa: E731
            assert read(text, normalize, cut=cut, **options) == whole, text
        several += any(entry.goes_on for entry in whole)
    assert several > 20


def test_a_copy_goes_on_by_itself():
    text = "It costs $5 million in **New York** [now](http://x.org) on March 3, les 5 \u2013 6 km."
    whole = said(text, "auto", lexicon=LEXICON)
    for at in range(len(text)):
        reader = reader_of("auto", lexicon=LEXICON)
        before = reader.feed(text[:at])
        other = reader.copy()
        other.feed(" something ](else) 5 `` New ")
        assert heard(before + reader.feed(text[at:]) + reader.end()) == whole


def waited(text, normalize="en", **options):
    """For every word of a text: how many more words had begun when it came out."""
    reader, out, most = reader_of(normalize, **options), 0, {}
    words = text.split()
    for i, word in enumerate(words):
        out += len(captions(reader.feed(f"{word} ")))
        for late in words[out : i + 1]:
            most[late] = most.get(late, 0) + 1
    return most


def test_plain_words_come_out_at_once():
    text = "The quick brown fox, it's (said) “he”, jumps over *the* lazy well-known dogs. So there!"
    assert waited(text) == {}
    assert waited(text, "auto") == {}
    assert waited("Les œufs, l'été, «oui» dit-elle. Voilà!", "auto") == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is 5, and 6. so", {}),
        ("it is 5 so", {"5": 1}),
        ("costs $5 million now", {"$5": 1}),
        ("at 5 km/h now", {"5": 1}),
        ("on March 3, 1999 it", {"March": 1, "1999": 1}),
        ("on March 3 it", {"March": 1}),
        ("at 10:30 it", {"10:30": 1}),
        ("on 2025-03-04 it costs $5.50, 20°C or 50% of that", {}),
        ("a [link to](http://x.org) there", {}),
        ("# A head - and | more", {"-": 1, "and": 1, "|": 1, "more": 1, "head": 1}),
    ],
)
def test_only_what_may_mean_something_else_waits(text, expected):
    if "#" in text:  # marks are no words, so that counting them tells nothing
        assert heard(reader_of().feed(f"{text} ")) == "A head |3| and |3| more"
        return
    assert waited(text) == expected


def test_a_link_does_not_hold_its_text():
    reader = reader_of()
    assert heard(reader.feed("[click here](http")) == "click"
    assert heard(reader.feed("://x.org) and")) == "here"
    assert heard(reader.feed(" ")) == "and"


def test_what_follows_an_open_bracket_is_bounded():
    reader = reader_of()
    assert heard(reader.feed("a [b](see ")) == "a"
    assert heard(reader.feed("below")) == "bsee"
    reader = reader_of()
    reader.feed("[b](" + "x" * 1990)
    assert reader.feed("x" * 20 + " ") != []


def test_the_language_is_waited_for_in_a_bounded_way():
    assert heard(reader_of("auto").feed("3 " + "a " * MOST_AHEAD)).startswith("three")
    assert reader_of("auto").feed("3 " + "a " * (MOST_AHEAD - 1)) == []


def test_without_rules_and_lexicon_words_are_as_the_reader_has_them():
    text = (
        "It costs $5 (10:30) <3 a<b List<String> ** _x_ \u2019tis 🙂 \u200b\n\n"
        "<break time='1s'/> # é [a](b) one<break time='1s'/>two"
    )
    plain, same, other = (ScriptReader(lambda word: tuple(map(ord, word))) for _ in range(3))
    expected = plain.feed(text) + plain.end()
    assert Wording().over(same) is same
    reader = Wording(lexicon=Lexicon({"nothing": "of it"})).over(other)
    assert reader.feed(text) + reader.end() == expected
