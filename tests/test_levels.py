"""tools/levels.py: what it does to a sentence, and the command as users run it."""

import json

import levels
import numpy as np
import pytest
from speech import libraries


def test_a_condition_is_what_a_sound_card_gives():
    pcm = np.sin(np.arange(24_000) / 20).astype(np.float32) / 4
    np.testing.assert_allclose(levels.Condition("").apply(pcm, 0), pcm, atol=1 / 65_536)
    soft = levels.Condition("", decibels=-40, offset=0.1).apply(pcm, 0)
    np.testing.assert_allclose(soft, pcm / 100 + 0.1, atol=1 / 65_536 + 1e-7)
    assert np.array_equal(soft * 32_768, np.round(soft * 32_768))
    loud = levels.Condition("", decibels=20).apply(pcm, 0)
    assert (loud.min(), loud.max()) == (-1, 32_767 / 32_768) and loud.dtype == np.float32
    noisy = levels.Condition("", noise=True)
    rest = noisy.apply(pcm, 1) - pcm
    assert 20 * np.log10(pcm.std() / rest.std()) == pytest.approx(25, abs=0.5)
    assert np.array_equal(noisy.apply(pcm, 1), noisy.apply(pcm, 1))


@pytest.mark.thorough
@pytest.mark.skipif(not libraries.available(), reason="needs the libraries of espeak-ng and flite")
def test_the_command(small, capsys):
    assert levels.main([str(small("stt-tiny")), "--count", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["sound"] for row in found["rows"]] == [one.name for one in levels.CONDITIONS]
    assert all(row["words"] > 3 and row["off"] is not None for row in found["rows"])
    text = levels.table(found["rows"])
    assert text.count("\n") == 1 + len(levels.CONDITIONS) and "| -40 dB " in text
