"""tools/boost.py: its figures against what is known, and the command as users run it."""

import json

import boost
import numpy as np
import pytest
from boost import Said, figures
from evaluation import names
from speech import libraries

PCM = np.zeros(0, np.float32)


def test_figures():
    sentences = [
        Said("we met New Brunswick today", PCM, "New Brunswick", 0),
        Said("Ottoline sings", PCM, "Ottoline", 0),
        Said("the cat sat", PCM, "", 0),
        Said("the dog ran", PCM, "", 1),
    ]
    before = ["we met new runs today", "autumn line sings", "the cat sat", "the dog man"]
    after = ["we met new Brunswick today", "ottolines sings", "the fat", "the dog ran"]
    found = figures(sentences, before, after)
    assert found == {
        "names": 2, "found": 1, "wer_name": 1 / 7, "plain": 2, "changed": 2, "spoilt": 2,
        "wer_plain": 2 / 6,
    }  # fmt: skip
    assert figures(sentences, before, before)["changed"] == 0
    assert figures([], [], [])["wer_plain"] is None
    assert "1 of 2" in boost.table([{"strength": 3.0} | found])


def test_every_name_is_said_and_on_a_list():
    said = {names.sentence(seed)[0] for seed in range(len(names.NAMES))}
    assert said == set(names.NAMES) == {name for group in names.in_groups(5) for name in group}
    assert all(name in text for name, text in map(names.sentence, range(200)))


@pytest.mark.thorough
def test_without_the_libraries_a_line_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setattr(libraries, "available", lambda: False)
    assert boost.main([]) == 1
    assert "boost.py needs the libraries of espeak-ng and flite: sudo" in capsys.readouterr().err


@pytest.mark.skipif(not libraries.available(), reason="needs the libraries of espeak-ng and flite")
def test_the_command(small, capsys):
    args = [str(small("stt-tiny")), "--names", "2", "--plain", "2", "--phrases", "26", "--json"]
    assert boost.main([*args, "--strengths", "9"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["strength"] for row in rows] == [0, 9]
    assert [row["plain"] + row["names"] for row in rows] == [4, 4]
