"""Hearing with fewer codebooks than a model has: what is left out is silent, and not computed."""

import codebooks as tool
import mlx.core as mx
import numpy as np
import pytest
import soundfile

import dsm_mlx
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.options import LoadOptions
from dsm_mlx.runtime.worker import complete

RATE = 24_000
PCM = 0.2 * np.random.default_rng(0).standard_normal(2 * RATE).astype(np.float32)


@pytest.fixture(scope="module")
def folder(small):
    return small("stt-tiny")


@pytest.mark.parametrize("bits", [None, 8])
def test_the_others_are_as_if_they_were_not_there(folder, bits):
    """Token -1 of a model that has them all is what is left out of one that has not."""
    read = Checkpoint.find(folder, "stt").read_lm
    whole = complete(read(LoadOptions(bits, "float32")))
    few = complete(read(LoadOptions(bits, "float32", codebooks=3)))
    n_q, card = whole.config.n_q, whole.config.card
    assert (n_q, few.config.n_q, len(few.config.delays)) == (4, 3, 4)
    states = whole.init_state(1), few.init_state(1)
    rng = np.random.default_rng(1)
    for _ in range(20):
        text = mx.array([int(rng.integers(90))])
        codes = rng.integers(card, size=(1, n_q))
        codes[:, 3] = -1
        a, state_a = whole(text, mx.array(codes), states[0])
        b, state_b = few(text, mx.array(codes[:, :3]), states[1])
        states = state_a, state_b
        np.testing.assert_allclose(np.array(a), np.array(b), atol=1e-6)
    codes[:, 3] = 0
    assert np.abs(np.array(whole(text, mx.array(codes), states[0])[0]) - np.array(a)).max() > 1e-3


def test_the_codec_computes_no_others(folder):
    with dsm_mlx.load_stt(folder) as stt, dsm_mlx.load_stt(folder, codebooks=2) as few:
        assert (stt.info.codebooks, few.info.codebooks) == (4, 2)
        assert few.info.parameters < stt.info.parameters and few.info.bytes < stt.info.bytes
        assert len(few._core.codec.quantizer.rvq_rest.codebooks) == 1
        assert few.transcribe(PCM, sample_rate=RATE) != stt.transcribe(PCM, sample_rate=RATE)
    with dsm_mlx.load_stt(folder) as stt, dsm_mlx.load_stt(folder, codebooks=4) as all_of_them:
        heard = all_of_them.transcribe(PCM, sample_rate=RATE)
        assert heard.words and heard == stt.transcribe(PCM, sample_rate=RATE)


def test_a_stream_of_all_codebooks_is_one_of_another_model(folder):
    with dsm_mlx.load_stt(folder) as stt, dsm_mlx.load_stt(folder, codebooks=2) as few:
        with few.stream() as stream:
            data = stream.save()
        few.resume(data).close()
        with pytest.raises(ValueError, match="of another model"):
            stt.resume(data)


@pytest.mark.parametrize(
    ("codebooks", "error", "said"),
    [
        (0, ValueError, "codebooks is 0 .expected 1 or more"),
        (5, ValueError, "codebooks is 5 .expected 1 to 4"),
        (2.0, TypeError, r"codebooks is 2\.0 .expected an integer"),
        (True, TypeError, "codebooks is True"),
    ],
)
def test_a_number_that_cannot_be(folder, codebooks, error, said):
    with pytest.raises(error, match=said):
        dsm_mlx.load_stt(folder, codebooks=codebooks)


def test_sound_without_a_text_is_told_of(folder, tmp_path, capsys):
    soundfile.write(tmp_path / "a.wav", PCM, RATE)
    assert tool.main([str(folder), "--audio", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert not out and f"{tmp_path}: no text beside the sound (NAME.txt)" in err


@pytest.mark.thorough
def test_the_table_of_the_tool(folder, tmp_path, capsys):
    """Random weights understand nothing: every number of codebooks has its line, with errors."""
    soundfile.write(tmp_path / "a.wav", PCM, RATE)
    (tmp_path / "a.txt").write_text("one two three")
    assert tool.main([str(folder), "--audio", str(tmp_path)]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| 4", "| 3", "| 2", "| 1"]
    assert all(float(row[1].rstrip("%")) >= 100 for row in rows)
    assert tool.main([str(folder), "--audio", str(tmp_path / "none")]) == 1
