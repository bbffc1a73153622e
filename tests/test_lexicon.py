"""What is said for certain words: what fits, and the files that say it."""

import pytest
from reading import captions, heard, read, reader_of, said

from dsm_mlx.tts.text.lexicon import Lexicon, read_lexicon

NAMES = {
    "Nguyen": "win",
    "New York": "noo york",
    "New York City": "the big city",
    "GIF": "jiff",
    "McCoy": "muh coy",
    "C++": "see plus plus",
    "e.g.": "for one",
    "5G": "five gee",
    "Saint-Étienne": "sant ayt yen",
}


@pytest.mark.parametrize("normalize", [None, "en"])
@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Nguyen", "win"),
        ("so nguyen, NGUYEN!", "so win win"),
        ("(“Nguyen”).", "win"),
        ("Nguyen's, nguyen\u2019s", "win's win's"),
        ("GIF gif Gif GIF.", "jiff gif Gif jiff"),
        ("McCoy Mccoy", "muh coy Mccoy"),
        ("New York. new york", "noo york noo york"),
        ("New York City, New York", "the big city noo york"),
        ("New", "New"),
        ("New Yorker", "New Yorker"),
        ("New, York", "New York"),
        ("New New York", "New noo york"),
        ("New\nYork", "noo york"),
        ("C++, and", "see plus plus and"),
        ("e.g. so e.g., so", "for one so for one so"),
        ("5G", "five gee"),
        ("Saint-Étienne", "sant ayt yen"),
        ("\uff27\uff29\uff26", "jiff"),
    ],
)
def test_what_fits(written, spoken, normalize):
    assert said(written, normalize, lexicon=NAMES) == spoken


def test_captions_keep_the_spelling():
    entries = read("So Nguyen's, (New York City)!", None, lexicon=NAMES)
    assert captions(entries) == ["So", "Nguyen's,", "(New York City)!"]
    assert heard(entries) == "So win's the big city"


def test_punctuation_is_said_with_it():
    reader = reader_of(None, lexicon={"a": "b"})
    reader._reader._tokenize = lambda word: tuple(map(ord, word))
    assert [entry.tokens for entry in reader.feed('"a," ')] == [tuple(map(ord, '"b,"'))]


def test_only_the_beginning_of_an_entry_waits():
    reader = reader_of(None, lexicon=NAMES)
    assert heard(reader.feed("So Nguyen in New ")) == "So win in"
    assert heard(reader.feed("York ")) == ""
    assert heard(reader.feed("is ")) == "noo york is"
    assert heard(reader.feed("New. ")) == "New"
    assert heard(reader.feed("New <break time='1s'/>")) == "New |12|"
    assert heard(reader.feed("New York") + reader.end()) == "noo york"


def test_what_is_said_is_not_read_again():
    assert said("route 66", lexicon={"route": "5 **x**"}) == "5 x sixty six"


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        (["a"], TypeError, "lexicon is \\['a'\\]"),
        ({"a": 1}, TypeError, "lexicon has 1"),
        ({1: "a"}, TypeError, "lexicon has 1"),
        ({"a": " "}, ValueError, "expected what is said"),
        ({"": "a"}, ValueError, "expected a word"),
    ],
)
def test_entries_that_are_none(entries, error, message):
    with pytest.raises(error, match=message):
        Lexicon(entries)


# ---- files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"Nguyen = win\n\n# a note\n  New York=noo york  \n",
        b"\xef\xbb\xbfNguyen\twin\r\nNew York\tnoo york\r\n",
        b'\n{"Nguyen": "win", "New York": "noo york"}',
    ],
)
def test_a_file(tmp_path, data):
    path = tmp_path / "names.txt"
    path.write_bytes(data)
    assert read_lexicon(path) == {"Nguyen": "win", "New York": "noo york"}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = b\nnothing\n", "line 2: 'nothing' (expected `written = said`)"),
        (b"a =\n", "line 1: 'a =' (expected what is said for it)"),
        (b"\n = b\n", "line 2: '= b' (expected a word before it)"),
        (b"a = b\nc = d\na = e\n", "line 3: 'a = e' (it is also in line 1)"),
        (b"a = b\n\xff = c\n", "line 2: not UTF-8"),
        (b'{"a": "b",\n "c"}', "line 2: "),
        (b'{"a": 1}', "'a' is 1 (expected a text)"),
        (b'{"a": ""}', "'a': '' (expected what is said for it)"),
        (b'{"a": "b", "a": "c"}', "'a' is given twice"),
    ],
)
def test_a_file_with_a_fault_names_the_line(tmp_path, data, message):
    path = tmp_path / "names.txt"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"names\.txt") as error:
        read_lexicon(path)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_no_file(tmp_path):
    with pytest.raises(OSError, match="names"):
        read_lexicon(tmp_path / "names")
