"""`dsm-stt --mic` shows how loud it is, where no words are shown."""

import sys

import numpy as np
import pytest

from dsm_mlx.cli import level, transcription
from dsm_mlx.cli.transcribe import main


class Microphone:
    """Hears half a second, which is as loud as it says."""

    level = -30.0

    def __init__(self, device, rate):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def __iter__(self):
        for _ in range(25):
            yield np.zeros(480, np.float32)


@pytest.mark.parametrize(
    "decibels, bar",
    [
        (-120.0, f"|{'':30}| -120 dB"),
        (-60.0, f"|{'':30}| -60 dB"),
        (-30.0, f"|{'#' * 15:30}| -30 dB"),
        (0.0, f"|{'#' * 30}| 0 dB"),
        (3.0, f"|{'#' * 30}| 3 dB"),
    ],
)
def test_the_bar(decibels, bar):
    assert level.level_bar(decibels) == bar


@pytest.mark.parametrize("out", ["file", "terminal", "pipe"])
@pytest.mark.parametrize("err", ["terminal", "pipe"])
def test_the_level_is_shown_where_no_words_are(checkpoint, tmp_path, monkeypatch, capsys, out, err):
    monkeypatch.setattr(transcription, "Microphone", Microphone)
    monkeypatch.setattr(transcription, "find_device", lambda device, kind: None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: out != "pipe")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: err == "terminal")
    args = ["--model", str(checkpoint("stt-tiny")), "--mic"]
    assert main(args + (["--output-dir", str(tmp_path)] if out == "file" else [])) == 0
    told = capsys.readouterr().err
    shown = err == "terminal" and out != "terminal"
    assert ("\rlevel |###############               | -30 dB\x1b[K" in told) == shown
    assert ("dB\x1b[K\r\x1b[K" in told) == shown  # and is gone before anything else is told
