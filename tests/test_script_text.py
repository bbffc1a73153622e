"""Text as people write it: tags and what looks like them, signs that a tokenizer does not know,
characters that nobody sees, and text of which nothing can be said."""

import io
import random
from pathlib import Path

import golden as fixtures
import pytest
import sentencepiece

import dsm_mlx
from dsm_mlx.tts import tags
from dsm_mlx.tts.script import ScriptReader, word_tokenizer

TINY = Path(dsm_mlx.__file__).parent / "tiny/tokenizer.model"
FIXTURES = sorted((fixtures.CHECKPOINTS / "tokenizers").glob("*.model"))


def letters(word: str) -> tuple[int, ...]:
    """A tokenizer for tests that do not care: one token a letter."""
    return tuple(10 + ord(ch) % 100 for ch in word)


def read(text, tokenize=letters, cut=None, **options):
    """Entries and complaints of a text; cut: gives the length of the next piece to feed."""
    complaints = []
    reader = ScriptReader(tokenize, refused=complaints.append, **options)
    entries = []
    while text:
        size = cut() if cut else len(text)
        entries += reader.feed(text[:size])
        text = text[size:]
    return entries + reader.end(), complaints, reader


def words(text: str, tokenize=letters) -> list[str]:
    return [entry.text or "|" for entry in read(text, tokenize)[0]]


# ---- tags ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prose",
    [
        *("a<b", "a<b and c>d", "x < y", "x <y and z> w", "<3", "->", "<-", "<->", "<=>", "<<EOF"),
        *(
            "<bob@example.com>",
            "mail <bob.b@example.com>!",
            "<http//example.com/?a=b>",
            "<>",
            "</>",
        ),
        *("List<String>", "Map<String,List<Integer>>", "std_vector<int >", "x1<T>", "if a<b>c"),
        *("< b >", "< /b>", "</ b>", "<b c>", "<b =c>", "<input disabled>", "<5 or >6", "<|end|>"),
        *("<b a='x' b=\"y'>", "<b a==c>", "<ünder>", "<", "a<", "<b", "</b", "<b c=", "<!-- note"),
        *("<breakfast", "<b " + "c=d " * 60 + ">", "<![CDATA[a]]>", "what<?>"),
    ],
)
def test_prose_is_said_whatever_it_looks_like(prose):
    entries, complaints, _ = read(f"so {prose} it is")
    assert complaints == []
    assert [entry.text for entry in entries] == f"so {prose} it is".split()


@pytest.mark.parametrize(
    "tag",
    [
        *("<b>", "</b>", "</b >", "<br/>", "<br />", "<h1>", "<amazon:effect>", "<say-as>"),
        *('<p class="a b">', "<p class='>'>", "<a href=/x/y>", '<a b = "1" c=2 />', "<String>"),
        *("<!-- a note -->", "<!-- a > b -->", "<!DOCTYPE html>", '<?xml version="1.0"?>'),
        *(
            "<break/>",
            "<break>",
            "<break >",
            "<break 500ms>",
            "<break time=5>",
            '<Break time="1s"/>',
        ),
    ],
)
def test_a_tag_is_left_out_and_named(tag):
    entries, complaints, _ = read(f"say {tag} this")
    assert [entry.text for entry in entries] == ["say", "this"]
    assert len(complaints) == 1 and f"unknown tag {tag}: in a text only <break" in complaints[0]
    reader, entries = ScriptReader(letters), []
    with pytest.raises(ValueError, match="unknown tag") as error:
        reader.feed(f"say {tag} this", entries)
    assert str(error.value) == complaints[0]
    assert [entry.text for entry in entries + reader.end()] == ["say", "this"]


def test_a_bare_tag_right_after_a_word_is_prose():
    assert words("a List<String> of<b>x</b>") == ["a", "List<String>", "of<b>x"]
    assert words('one<break time="1s"/>two<br/>three<p a=b>four') == [
        "one", "|", "two", "three", "four",
    ]  # fmt: skip


def test_a_tag_parts_words_but_not_a_word_from_its_full_stop():
    assert words("<p>One.</p><p>Two</p>, <b>three</b>! <i>so</i>-called <i>fo</i>(ur)") == [
        "One.", "Two,", "three!", "so-called", "fo", "ur",
    ]  # fmt: skip


def test_all_tags_of_a_text_are_named_once():
    text = "<i>a</i> <i>b</i> <u>c</u> <break time='2h'/>"
    with pytest.raises(ValueError, match="tag") as error:
        ScriptReader(letters).feed(text)
    assert str(error.value).startswith(
        "unknown tag <i>; unknown tag </i>; unknown tag <u>; and 2 more"
    )
    _, complaints, _ = read(text, cut=lambda: 1)
    assert [complaint.split(":")[0] for complaint in complaints] == [
        *("unknown tag <i>", "unknown tag </i>", "unknown tag <u>", "unknown tag </u>"),
        "unknown tag <break time='2h'/>",
    ]


def test_a_text_full_of_tags_is_not_a_log_full_of_warnings():
    _, complaints, reader = read("".join(f"<t{i}>" for i in range(5000)), cut=lambda: 7)
    assert sum(complaint.count("unknown tag") for complaint in complaints) == 20
    assert reader.nothing_said


def test_a_break_that_is_not_closed_is_told_and_the_rest_is_said():
    entries, complaints, _ = read('say this <break time="1s"')
    assert [entry.text for entry in entries] == ["say", "this"]
    assert len(complaints) == 1 and 'the tag <break time="1s" is not closed' in complaints[0]


def test_a_turn_changes_although_the_text_before_it_ends_in_a_tag():
    reader, entries = ScriptReader(letters), []
    reader.feed("say <break ", entries)
    with pytest.raises(ValueError, match="not closed"):
        reader.turn(1, entries)
    entries += reader.feed("this ")
    assert [(entry.tokens[0], entry.text) for entry in entries] == [(1, "say"), (2, "this")]


def test_what_begins_a_turn_is_not_right_after_a_word():
    reader = ScriptReader(letters)
    reader.feed("a List")
    reader.turn(1)
    with pytest.raises(ValueError, match="unknown tag <String>"):
        reader.feed("<String>")


def test_what_begins_like_a_break_is_a_word():
    assert words("<breakfast") == ["<breakfast"] and words("<break:a") == ["<break", "a"]


def test_no_more_than_a_tag_is_held_back():
    for start in ("<b c='", "<break ", "<!-- ", "<b c=", "</b ", "<b c "):
        reader, text, out = ScriptReader(letters), start + "word " * 100, 0
        for i, ch in enumerate(text, 1):
            out += sum(len(entry.text) + 1 for entry in reader.feed(ch))
            assert i - out <= tags.LONGEST + 1 + len("word ") + len(start.split()[0])


PIECES = [
    *(
        "<",
        ">",
        "</",
        "/>",
        "<b",
        "<b>",
        "</b>",
        "<break",
        ' time="',
        "5s",
        '"',
        "'",
        "=",
        " ",
        "a",
    ),
    *(
        "<!--",
        "-->",
        "-",
        "<?x",
        "<break time='2s'>",
        "word",
        "_",
        "\u200b",
        "e\u0301",
        "\n",
        "<a b=c>",
    ),
    *("\u00ad", "(", ")", ":", "🙂", "\ud83d", "\x00", "x" * 150, "List<String>", "\u2019", "é"),
]


def test_any_split_gives_the_same_entries():
    rng = random.Random(3)
    seen = 0
    for _ in range(1500):
        text = "".join(rng.choices(PIECES, k=rng.randrange(1, 25)))
        whole, complaints, reader = read(text)
        split, told, other = read(text, cut=lambda: rng.choice([1, 1, 2, 3, 10]))
        assert split == whole, text
        assert reader.left_out == other.left_out
        assert bool(told) == bool(complaints)
        seen += bool(complaints)
    assert 300 < seen < 1400


def test_what_begins_a_tag_may_become_one():
    """However far it has come: else a tag would be said, cut just there."""
    for tag in ('<a b="c > d" e = f  />', "</a:b-c >", "<!-- a > b -->", "<?x y?>", "<break 5s >"):
        for end in range(1, len(tag)):
            assert tags.may_become_tag(tag[:end]) and not tags.is_tag(tag[:end], False), tag[:end]
        assert tags.is_tag(tag, False) and tags.is_tag(tag, True)


# ---- characters that nobody sees -----------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("zero\u200bwidth", ["zero", "width"]),
        ("no\u00a0break line\u2028end", ["no", "break", "line", "end"]),
        ("\ufeffco\u00adop\u00aderate", ["cooperate"]),
        ("no\u200ct join\u200dus w\u2060j", ["not", "joinus", "wj"]),
        ("\u202aleft\u202c \u200fright", ["left", "right"]),
        ("n\x00u\x07l \x1b[0m", ["nul", "[0m"]),
        ("half \ud83d\ude00 \udc80x", ["half", "x"]),
    ],
)
def test_what_nobody_sees_parts_words_or_is_not_there(text, said):
    assert words(text) == said


def test_accents_are_put_together_with_their_letters():
    assert words("cafe\u0301 nai\u00ad\u0308ve") == ["café", "naïve"]
    assert words("q\u0303") == ["q\u0303"]


# ---- signs that the tokenizer does not know ------------------------------------------------


def processor(path):
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


@pytest.fixture(scope="module")
def with_bytes():
    """A tokenizer that spells in bytes what it has no pieces for."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the bold man and the other man said that he is here"] * 20),
        model_writer=model,
        vocab_size=300,
        byte_fallback=True,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


MARKED = ['"{}', "“{}”", "**{}**", "_{}_", "~~{}", "«{}»", "#{}", "{}™", "[{}]", "*{}שלום*"]


@pytest.mark.parametrize("path", [TINY, *FIXTURES], ids=lambda path: path.stem)
@pytest.mark.parametrize("mark", MARKED)
def test_unknown_signs_do_not_change_the_tokens_of_the_rest(path, mark):
    spm = processor(path)
    tokenize = word_tokenizer(spm)
    unknown = {ch for ch in mark.replace("{}", "") if spm.unk_id() in spm.encode(ch)}
    assert unknown
    for word in ("The", "bold", "there", "a"):
        left = "".join(ch for ch in mark.format(word) if ch not in unknown)
        assert tokenize(mark.format(word)) == tuple(spm.encode(left)) != ()


def test_the_in_quotes_is_one_token_for_tiny():
    tokenize = word_tokenizer(processor(TINY))
    assert len(tokenize("The")) == 1
    for written in ('"The', "“The”", "**The**", "The.", "The!"):
        assert tokenize(written) == tokenize("The")


def test_what_a_tokenizer_knows_stays():
    """Its own rules and pieces decide, so that the reference's tokens stay what they are."""
    tiny, fixture = word_tokenizer(processor(TINY)), word_tokenizer(processor(FIXTURES[-1]))
    assert tiny("café") == tiny("CAFE") != tiny("caf")
    assert tiny("“1990”") == tiny("1990") and len(tiny("1990")) == 4
    assert fixture("hi,") != fixture("hi") == fixture("«hi»")


def test_accents_that_are_known_are_known_apart_too():
    tokenize = word_tokenizer(processor(TINY))
    apart, together = (read(text, tokenize)[0] for text in ("cafe\u0301", "café"))
    assert apart == together and apart[0].tokens[1:] == tokenize("café")


def test_with_bytes_every_sign_is_known(with_bytes):
    tokenize = word_tokenizer(with_bytes)
    for word in ('"the', "“the”", "**the**", "é", "שלום"):
        ids = tokenize(word)
        assert ids == tuple(with_bytes.encode(word))
        assert with_bytes.decode(list(ids)) == word
        assert any(with_bytes.is_byte(i) for i in ids)
    assert words("the\u200bman \x00\ufeff🙂", tokenize) == ["the", "man"]


class Contrary:
    """Knows every sign alone, and none beside others."""

    def unk_id(self):
        return 0

    def encode(self, word):
        return [0] * len(word) if len(word) > 1 else [7]


def test_nothing_that_means_a_new_word_comes_out_of_a_word():
    assert word_tokenizer(Contrary())("ab") == ()
    signs = "a\"é=…²½\u0301שß'-—🙂.,"
    rng = random.Random(5)
    for path in (TINY, *FIXTURES):
        spm = processor(path)
        tokenize = word_tokenizer(spm)
        for _ in range(300):
            assert spm.unk_id() not in tokenize("".join(rng.choices(signs, k=rng.randrange(1, 8))))


# ---- nothing to say ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "left_out"),
    [
        ("", ()),
        (" \n\x00\u200b", ()),
        ("😀", ("😀",)),
        ("👩\u200d👩\u200d👧 😀 😀", ("👩👩👧", "😀")),
        ("שלום عالم", ("שלום", "عالم")),
        ('" ** …', ('"', "**", "…")),
        ("你" * 100, ("你" * 40,)),
    ],
)
def test_text_of_which_nothing_can_be_said(text, left_out):
    entries, complaints, reader = read(text, word_tokenizer(processor(TINY)))
    assert entries == [] and complaints == []
    assert reader.nothing_said and reader.left_out == left_out


def test_text_of_which_something_can_be_said():
    tokenize = word_tokenizer(processor(TINY))
    _, _, reader = read("Hello 😀 שלום, “there”!", tokenize)
    assert not reader.nothing_said and reader.left_out == ("😀", "שלום,")
    assert not read('<break time="1s"/>', tokenize)[2].nothing_said
    assert len(read(" ".join(map(chr, range(0x5D0, 0x5E8))), tokenize)[2].left_out) == 20
