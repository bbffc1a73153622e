"""The evaluation sets of tools/evaluate.py, in the layouts that people have, and how words and
their times are counted."""

import gzip
import json
import random
import subprocess
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
from evaluation import figures, mel, published, scoring, sets
from evaluation.sets import Item, Set, Timed
from evaluation.times import Times

from dsm_mlx.audio.ffmpeg import has_ffmpeg
from dsm_mlx.errors import AudioError

RATE = 24_000
PCM = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)
DEBIAN = Path("/usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz")


def sound(path: Path, pcm=PCM) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, pcm, RATE, subtype="FLOAT" if path.suffix == ".wav" else None)
    return path


def texts(found: Set) -> list[tuple[str, str]]:
    return [(item.name, item.text) for item in found.items]


# ---- layouts


def test_a_librispeech_tree(tmp_path):
    for name in ("61/70/61-70-0001", "61/70/61-70-0000", "8/9/8-9-0000"):
        sound(tmp_path / f"{name}.flac")
    (tmp_path / "61/70/61-70.trans.txt").write_text("61-70-0000 HE SAID NO\n61-70-0001 A YES\n")
    (tmp_path / "8/9/8-9.trans.txt").write_text("8-9-0000 LAST\n")
    found = sets.find(str(tmp_path))
    expected = [("61-70-0000", "HE SAID NO"), ("61-70-0001", "A YES"), ("8-9-0000", "LAST")]
    assert texts(found) == expected and found.language == "en"
    assert found.items[0].pcm().size == PCM.size
    (tmp_path / "8/9/8-9.trans.txt").write_text("\n8-9-0000 LAST\n8-9-0001 NONE\n")
    with pytest.raises(ValueError, match=r"8-9\.trans\.txt, line 3: .*no sound file 8-9-0001"):
        sets.find(str(tmp_path))


STM = """;; a comment
talk 1 talk 0.00 0.50 <NA> ignore_time_segment_in_scoring
talk 1 talk 0.5 1.25 <o,f0,male> hello it 's <unk> me
talk 1 talk 1.25 2.0 <unk> without a label
"""


@pytest.mark.parametrize("place", ["sph/talk.wav", "stm/talk.flac"])
def test_segments_of_a_long_file(place, tmp_path):
    sound(tmp_path / place)
    (tmp_path / "stm").mkdir(exist_ok=True)
    (tmp_path / "stm/talk.stm").write_text(STM)
    for path in (tmp_path, tmp_path / "stm/talk.stm"):
        found = sets.find(str(path))
        assert [text for _, text in texts(found)] == [
            "hello it 's <unk> me",
            "<unk> without a label",
        ]
    first, second = (item.pcm() for item in found.items)
    np.testing.assert_allclose(first, PCM[RATE // 2 : RATE * 5 // 4], atol=1e-4)
    np.testing.assert_allclose(second, PCM[RATE * 5 // 4 :], atol=1e-4)
    with pytest.raises(AudioError, match=r"begins at 3 s of .*, which has 2 s"):
        Item("x", "x", tmp_path / place, (3.0, 4.0)).pcm()


def test_csv_with_quotes_and_jsonl(tmp_path):
    sound(tmp_path / "a, b/one.wav")
    table = tmp_path / "calls.csv"
    table.write_text('id,text,audio\n1,"He said ""no"", twice","a, b/one.wav"\n')
    assert texts(sets.find(str(table))) == [("a, b/one.wav", 'He said "no", twice')]
    word = {"text": "no", "start": 0.5, "end": 1, "confidence": 0.9}
    lines = [{"audio": "a, b/one.wav", "text": "no", "words": [word]}]
    named = tmp_path / "calls.txt"  # the name tells nothing
    named.write_text("\n".join(map(json.dumps, lines)))
    (item,) = sets.find(str(named)).items
    assert item.words == (Timed("no", 0.5, 1.0),) and item.sound.is_file()


def test_texts_beside_sound(tmp_path):
    sound(tmp_path / "a.wav")
    sound(tmp_path / "b.wav")
    (tmp_path / "b.txt").write_text("only this\n")
    assert texts(sets.find(str(tmp_path))) == [("b.wav", "only this")]
    assert texts(sets.find(str(tmp_path / "b.wav"))) == [("b.wav", "only this")]
    with pytest.raises(ValueError, match="holds no recordings with a text"):
        sets.find(str(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "audio,text\none.wav,hi\nnone.wav,hi\n", r"a\.csv, line 3: there is no sound"),
        ("a.csv", "audio,text\none.wav\n", "line 2: has not as many values"),
        ("a.csv", "audio,text\none.wav,hi,ho\n", "line 2: has not as many values"),
        ("a.csv", 'audio,text\none.wav,"hi\n', "line 2: unexpected end of data"),
        ("a.csv", "audio,text\none.wav,\n", "line 2: text is ''"),
        ("a.csv", "audio;text\none.wav;hi\n", r"a\.csv, line 1: no evaluation set"),
        ("a.jsonl", '{"audio": "one.wav", "text": "hi"}\n{oh\n', "line 2: no JSON"),
        ("a.jsonl", '{"audio": "one.wav"}\n', "line 1: text is None"),
        ("a.jsonl", '{"audio": "one.wav", "text": "hi", "words": [{"text": "hi"}]}', "a word is"),
        ("a.jsonl", '{"audio": 1, "text": "hi"}\n', "line 1: audio is 1"),
        ("a.stm", "one 1 x 0.0 1.0 <NA> hi\none 1 x 2.0 1.0 <NA> hi\n", "line 2: .*start < end"),
        ("a.stm", "one 1 x 0.0 soon <NA> hi\n", "line 1: .*start < end"),
        ("a.stm", "two 1 x 0.0 1.0 <NA> hi\n", "line 1: there is no sound file two"),
        ("a.stm", "one 1 x 0 1 <NA> ignore_time_segment_in_scoring\n", "holds no recordings"),
        ("a.txt", "hello there\n", r"a\.txt, line 1: no evaluation set"),
    ],
)
def test_a_bad_set_is_named_with_its_line(name, text, said, tmp_path):
    sound(tmp_path / "one.wav")
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=said):
        sets.find(str(tmp_path / name))


def test_a_set_that_is_not_there():
    with pytest.raises(ValueError, match="/no/set: no such file or folder, and no set of that"):
        sets.find("/no/set")


def test_some_recordings_are_spread_over_the_set():
    whole = Set("all", [Item(str(i), "x") for i in range(10)])
    assert [item.name for item in whole.spread(4).items] == ["0", "2", "5", "7"]
    assert whole.spread(10) is whole and whole.spread(None) is whole


# ---- Debian's packages


def exchange(root: Path, said: str, language: str = "en", names=("hello", "digits/1", "beep")):
    """The layout of asterisk-core-sounds-LANGUAGE: a folder that is a link, and a list of texts."""
    sounds = root / "usr/share/asterisk/sounds"
    for name in names:
        path = sounds / "somebody" / f"{name}.g722"
        path.parent.mkdir(parents=True, exist_ok=True)
        tone = ["-f", "lavfi", "-i", "sine=frequency=300:duration=0.5", "-ar", "16000"]
        subprocess.run(["ffmpeg", "-v", "error", *tone, "-c:a", "g722", path], check=True)
    (sounds / language).symlink_to(sounds / "somebody")
    doc = root / f"usr/share/doc/asterisk-core-sounds-{language}"
    doc.mkdir(parents=True)
    (doc / f"core-sounds-{language}.txt.gz").write_bytes(gzip.compress(said.encode()))
    return root


needs_ffmpeg = pytest.mark.skipif(not has_ffmpeg(), reason="needs ffmpeg")


@needs_ffmpeg
def test_an_exchange_that_talks(tmp_path):
    said = "; Core\n\nhello: Hello.\ndigits/1: one [1]\nbeep: [a beep]\nabsent: Not there.\n"
    found = sets.find("asterisk-en", exchange(tmp_path, said))
    assert texts(found) == [("digits/1", "one"), ("hello", "Hello.")]
    assert [item.pcm().size for item in found.items] == pytest.approx([RATE // 2] * 2, abs=200)
    assert found.language == "en" and found.note.startswith("1 recordings")


@needs_ffmpeg
def test_an_exchange_with_a_bad_text(tmp_path):
    with pytest.raises(ValueError, match=r"core-sounds-fr\.txt\.gz, line 2: oui .expected a name"):
        sets.find("asterisk-fr", exchange(tmp_path, "hello: Bonjour\noui\n", "fr"))


def test_packages_that_are_missing(tmp_path):
    command = "sudo apt install asterisk-core-sounds-fr asterisk-core-sounds-fr-g722"
    with pytest.raises(ValueError, match=command):
        sets.find("asterisk-fr", tmp_path)
    (tmp_path / "usr/share/asterisk/sounds/fr").mkdir(parents=True)
    with pytest.raises(ValueError, match=command):
        sets.find("asterisk-fr", tmp_path)


@pytest.mark.skipif(not DEBIAN.is_file(), reason="needs asterisk-core-sounds-en")
def test_debians_own_texts(monkeypatch):
    """All of them but what is no speech; their sound is decoded where it is asked for."""
    monkeypatch.setattr("evaluation.sets.asterisk.read", lambda path, target: str(path))
    found = sets.find("asterisk-en")
    known = dict(texts(found))
    assert len(found.items) > 540 and known["activated"] == "Activated."
    assert "beep" not in known and "silence/1" not in known and known["letters/dot"] == "dot"
    assert all(item.sound.endswith(f"/{item.name}.g722") for item in found.items)


# ---- words that are wrong


def distance(said: list[str], heard: list[str]) -> int:
    """Fewest words that are put in, left out or taken for others: by its definition."""

    @cache
    def cost(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        other = cost(i - 1, j - 1) + (said[i - 1] != heard[j - 1])
        return min(other, cost(i - 1, j) + 1, cost(i, j - 1) + 1)

    return cost(len(said), len(heard))


def test_errors_are_those_of_two_other_computations():
    scorer, rng = scoring.Scorer(), random.Random(1)
    total, expected = scoring.Counts(), [0, 0]
    for _ in range(200):
        said, heard = ([rng.choice("abcde") * 2 for _ in range(rng.randint(0, 12))] for _ in "xx")
        counts = scorer.counts(" ".join(said), " ".join(heard))
        wrong = distance(said, heard)
        assert (counts.errors, counts.words) == (wrong, len(said))
        assert (wrong, len(said)) == figures.word_errors(" ".join(said), " ".join(heard))
        assert counts.hits + counts.substitutions + counts.insertions == len(heard)
        total, expected = total + counts, [expected[0] + wrong, expected[1] + len(said)]
    assert total.wer == expected[0] / expected[1]  # of all words, and no mean of recordings


def test_each_kind_of_error_is_told():
    scorer = scoring.Scorer()
    assert scorer.counts("one red cat sat", "one bad cat") == scoring.Counts(2, 1, 1, 0)
    assert scorer.counts("sat", "it sat down") == scoring.Counts(1, 0, 0, 2)
    assert scorer.counts("", "noise here").wer is None


def test_english_is_brought_to_one_spelling():
    scorer = scoring.Scorer("en")
    assert (
        scorer.counts("Don't press twenty-two, Dr. Grey!", "do not press 22 doctor gray").errors
        == 0
    )
    assert scorer.normal("[beep] it 's <unk> me") == "it is me"


def test_other_languages_keep_their_words_and_accents():
    scorer = scoring.Scorer("fr")
    assert scorer.name == "Whisper's basic normaliser"
    assert (
        scorer.counts(
            "Composez le numéro, s'il vous plaît.", "composez le numéro s'il vous plaît"
        ).errors
        == 0
    )
    assert scorer.counts("numéro", "numero").errors == 1
    assert scorer.counts("un", "1").errors == 1


# ---- times of words


def times(said: list, heard: list) -> dict:
    found = Times()
    found.add([Timed(*one) for one in said], [Timed(*one) for one in heard], str.lower)
    return found.figures()


def test_times_of_words():
    said = [("Hello", 0.0, 1.0), ("there", 1.0, 2.0), ("you", 2.0, 3.0)]
    assert times(said, said) == {"time_error": 0, "time_f1": 1, "time_miou": 1}
    heard = [("hello", 0.1, 1.1), ("their", 1.0, 2.0), ("you", 2.3, 3.0), ("too", 3.0, 3.1)]
    found = times(said, heard)
    assert found["time_f1"] == pytest.approx(2 * 1 / (3 + 4))  # the first alone is near enough
    assert found["time_miou"] == pytest.approx(0.9 / 1.1)
    assert found["time_error"] == pytest.approx((0.1 + 0.1 + 0.3 + 0.0) / 4)
    assert times(said, []) == {"time_error": None, "time_f1": 0, "time_miou": None}
    assert Times().figures() == {}


def test_a_word_stands_for_one_word_only():
    said = [("no", 0.0, 0.1), ("no", 0.1, 0.2)]
    assert times(said, [("no", 0.05, 0.15)])["time_f1"] == pytest.approx(2 / 3)
    assert times([("no", 0.0, 0.1)], said)["time_f1"] == pytest.approx(2 / 3)


# ---- spectra, and what is published


def test_the_distance_of_spectra_is_in_decibels():
    before = mel.log_mel(PCM)
    assert before.shape == (1 + (PCM.size - 1024) // 256, 80)
    np.testing.assert_allclose(mel.log_mel(PCM / 2) - before, -20 * np.log10(2), atol=1e-3)
    tone = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)
    peak = mel.log_mel(tone).mean(0).argmax()
    assert peak == np.argmin(
        np.abs(2595 * np.log10(1 + 1000 / 700) / 3268 * 81 - 1 - np.arange(80))
    )
    assert mel.log_mel(np.zeros(100)).shape == (1, 80)


@pytest.mark.parametrize(
    ("name", "figure"),
    [
        ("data/LibriSpeech/test-clean", 1.7),
        ("LibriSpeech/test-other/", 4.3),
        ("TEDLIUM_release-3/legacy/test/stm", 3.4),
        ("sets/earnings22.csv", 11.0),
        ("meanwhile.jsonl", 5.7),
        ("LibriSpeech/dev-clean", None),
        ("asterisk-en", None),
        ("family/films", None),
    ],
)
def test_what_is_published_of_a_set(name, figure):
    found = published.which(name)
    assert (found and published.HEARING[found]) == figure
