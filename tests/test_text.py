"""Text as people write it: Markdown, addresses, pauses, other letters, and which language it is."""

import pytest
from reading import captions, heard, read, reader_of, said

from dsm_mlx.tts.text.folding import fold
from dsm_mlx.tts.text.rules import Rules, WithoutNumbers, rules_of

LINE, PARAGRAPH, CELL = "|4|", "|10|", "|3|"

# ---- Markdown ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("**bold** and *so*, __so__ and _so_.", "bold and so so and so"),
        ("~~gone~~ ***both*** **two words**", "gone both two words"),
        ("un*frigging*believable", "unfriggingbelievable"),
        ("snake_case_name", "snake case name"),
        ("2*3 and 5 * 3", "two times three and five times three"),
        ("`code` and `two words`", "code and two words"),
        ("[a link](https://example.com/a_(b)?c=d)!", "a link"),
        ('[a link](https://example.com "Its title"), so', "a link so"),
        ("[a link](<https://example.com>) so", "a link so"),
        ("[a link][ref] so[^1] and so[^note].", "a link so and so"),
        ("![a picture](a.png) here", "a picture here"),
        ("[note](see below) for", "notesee below for"),
        ("a [sic] b", "a sic b"),
        ("\\*no mark\\*", "no mark"),
        ("Tom &amp; Ann", "Tom and Ann"),
        ("[ref]: https://example.com 'T'\nso", "so"),
        ("<https://example.com> it is", "example dot com it is"),
    ],
)
def test_marks_are_not_said(written, spoken):
    assert said(written) == spoken


def test_captions_have_no_marks():
    assert captions(read("**Bold** `code` [a link](http://x.org), *so*")) == [
        *("Bold", "code", "a", "link,", "so"),
    ]


@pytest.mark.parametrize("fence", ["```", "~~~", "````"])
def test_a_block_of_code_is_left_out_and_told(fence):
    for after, pause in [
        (f"\n{fence}\nafter", f" {PARAGRAPH} after"),
        (f"\n{fence}", ""),
        ("", ""),
    ]:
        reader = reader_of()
        text = f"before\n{fence}python\nx = 1\n\ny = 2{after}"
        assert heard(reader.feed(text) + reader.end()) == f"before{pause}"
        assert reader.left_out == ("a code block of 3 lines",)


def test_code_in_a_line_is_no_block():
    assert said("```x``` is\n``y`` too") == "x is y too"


def test_nothing_of_a_long_block_is_kept():
    reader = reader_of()
    reader.feed("```\n" + "x" * 100_000)
    assert len(reader._scanner._held) < 1000


def test_signs_that_nobody_can_say_are_told_and_punctuation_is_not():
    reader = reader_of()
    reader.feed("a → b 🙂 ! « so » ★ ...")
    reader.end()
    assert reader.left_out == ("→", "🙂", "★")


# ---- pauses --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("It was\na line\nwrapped.", "It was a line wrapped"),
        ("One.\nTwo", f"One {LINE} Two"),
        ('"One?"\r\nTwo', f"One {LINE} Two"),
        ("As follows:\nTwo", f"As follows {LINE} Two"),
        ("One,\nTwo", "One Two"),
        ("One\n\nTwo", f"One {PARAGRAPH} Two"),
        ("One\n \n\n\nTwo", f"One {PARAGRAPH} Two"),
        ("\n\nOne\n\n", "One"),
        ("# Head\nText", f"Head {LINE} Text"),
        ("Text\n## Head ##\n\nText", f"Text {LINE} Head {PARAGRAPH} Text"),
        ("So\n- one\n- two\n  more\n* three", f"So {LINE} one {LINE} two more {LINE} three"),
        ("1. one\n2. two", f"one one {LINE} two two"),
        ("- [ ] open\n- [x] done", f"open {LINE} done"),
        ("we had\n12. Then", "we had twelve Then"),
        ("> quoted\n> text\n>\n> more", f"quoted text {PARAGRAPH} more"),
        ("One\n\n---\n\nTwo", f"One {PARAGRAPH} Two"),
        ("Head\n====\nText", f"Head {PARAGRAPH} Text"),
        ("— Yes.\n— No.", f"Yes {LINE} No"),
        ("| a | b |\n|---|:-:|\n| 1 | 2 |\n\nSo",
         f"a {CELL} b {LINE} one {CELL} two {PARAGRAPH} So"),
        ("One - two — three", f"One {CELL} two {CELL} three"),
        ('One.\n<break time="1s"/>\nTwo', "One |12| Two"),
        ("One.\n\nTwo <break time='1s'/>", f"One {PARAGRAPH} Two |12|"),
    ],
)  # fmt: skip
def test_lines_and_paragraphs_make_pauses(written, spoken):
    assert said(written) == spoken


def test_a_turn_begins_without_a_pause():
    reader = reader_of()
    entries = reader.feed("One.\n\n") + reader.turn(1) + reader.feed("\nTwo") + reader.end()
    assert heard(entries) == "One Two"


# ---- addresses -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("https://www.example.com/a/b-c?x=1#y.", "example dot com slash a slash b dash c"),
        ("(http://example.com)", "example dot com"),
        ("example.com/x,", "example dot com slash x"),
        ("www.example.museum", "example dot museum"),
        ("http://localhost:8080/docs", "localhost eight thousand and eighty slash docs"),
        ("https://example.com/" + "x" * 80, "example dot com"),
        ("https://a.io/2024/v2", "a dot io slash two thousand and twenty four slash v two"),
        ("bob.smith_1@example.org!", "bob dot smith underscore one at example dot org"),
        ("mailto:bob@example.org", "bob at example dot org"),
        ("end.Next and e.g. so", "end.Next and for example so".replace(".", "")),
        ("[https://a.io](https://a.io) so", "a dot io so"),
    ],
)
def test_addresses_are_said(written, spoken):
    assert said(written) == spoken
    assert len(captions(read(written))) == len(written.split())


# ---- letters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("\uff28\uff45\uff4c\uff4c\uff4f\uff01", "Hello!"),
        ("ﬁne ﬂow", "fine flow"),
        ("\U0001d41b\U0001d428\U0001d425\U0001d41d \U0001d4be\U0001d4c9", "bold it"),
        ("①②", "12"),
        ("㎞ ℃", "km °C"),
        ("H₂O", "H2O"),
        ("½ 1½", "1/2 1 1/2"),
        ("non\u2011stop", "non-stop"),
        ("ｶ", "カ"),
        *[(same, same) for same in ("café", "cafe\u0301", "naïve", "10²", "a…", "a™", "2ª", "…")],
    ],
)
def test_letters_of_other_shapes_are_folded_and_nothing_is_lost(written, folded):
    assert " ".join(fold(word) for word in written.split()) == folded


def test_captions_keep_the_letters():
    assert captions(read("\uff28\uff45\uff4c\uff4c\uff4f \uff15\uff4b\uff4d ﬁne")) == [
        "\uff28\uff45\uff4c\uff4c\uff4f",
        "\uff15\uff4b\uff4d",
        "ﬁne",
    ]
    assert (
        said("\uff28\uff45\uff4c\uff4c\uff4f \uff15\uff4b\uff4d ﬁne")
        == "Hello five kilometres fine"
    )


# ---- captions ------------------------------------------------------------------------------


def test_the_words_said_for_a_written_one_belong_to_it():
    entries = read("It costs $5.50, Dr. May 5.")
    assert captions(entries) == ["It", "costs", "$5.50,", "Dr.", "May", "5."]
    spoken = [entry for entry in entries if entry.text == "$5.50,"]
    assert [entry.goes_on for entry in spoken] == [False, True, True, True, True]
    assert heard(spoken) == "five dollars and fifty cents"
    assert not any(entry.goes_on for entry in read("no numbers here"))


def test_what_is_said_as_one_is_written_as_one():
    assert captions(read("so 1 1/2 cups of 10 000 km")) == [
        *("so", "1 1/2", "cups", "of", "10 000", "km"),
    ]


def test_a_written_word_of_which_nothing_can_be_said_is_told():
    reader = reader_of(lexicon={"hm": "…"})
    assert reader.feed("hm ") == [] and reader.left_out == ("hm",)


# ---- languages -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("The 3 cats", "The three cats"),
        ("Les 3 chats", "Les trois chats"),
        ("J'ai 3 chats", "J'ai trois chats"),
        ("It's 3 cats", "It's three cats"),
        ("3 pommes et 2 poires", "trois pommes et deux poires"),
        ("3 apples and 2 pears", "three apples and two pears"),
        ("3", "three"),
        ("1er", "premier"),
        ("1st", "first"),
        ("14h30", "quatorze heures trente"),
        ("$5", "five dollars"),
        ("5 €, c'est cher", "cinq euros c'est cher"),
        ("This is 3. Mais les gens sont 4.", "This is three Mais les gens sont quatre"),
        ("Voilà les 3. But these are 4.", "Voilà les trois But these are four"),
        ("3 a b c d e", "three a b c d e"),
    ],
)
def test_the_language_is_that_of_the_words_around(written, spoken):
    assert said(written, "auto") == spoken


def test_auto_is_between_the_languages_that_the_model_knows():
    assert rules_of("auto", ["en"]) == Rules(("en",))
    assert rules_of("auto", ("fr", "en")) == Rules(("en", "fr"))
    assert rules_of("auto", ["de"]) == Rules(("en", "fr"))
    assert rules_of("fr", ["en"]) == Rules(("fr",))
    assert rules_of(None, ["en"]) is None
    assert rules_of(WithoutNumbers("auto"), ["en"]) == Rules(("en",), numbers=False)


def test_without_numbers_all_else_is_read():
    text = "# Head\n**5** km, $5 at example.com/5, Dr. X"
    assert said(text, numbers=False) == f"Head {LINE} 5 km 5 at example dot com slash 5 Doctor X"
