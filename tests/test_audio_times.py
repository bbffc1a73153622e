"""Times are those of the file: sound that begins at 5 s of a video begins at 5 s."""

import numpy as np
import pytest
from sounds import Pipe, ffmpeg, heard, needs_ffmpeg, onset, tone

from dsm_mlx.audio import Sound, sources
from dsm_mlx.audio.timeline import CLOCK_SECONDS, on_time

VIDEO = ["-f", "lavfi", "-i", "color=s=32x32:r=5:d=8"]
LATE = ["-itsoffset", 5, "-i", "pipe:0"]


def made(path, *args, pcm=None):
    ffmpeg(*args, path, pcm=tone(2) if pcm is None else pcm)
    return path


@pytest.fixture(params=["ffmpeg", "pyav"])
def decoder(request, monkeypatch):
    if request.param == "pyav":
        pytest.importorskip("av", reason="PyAV is optional and not installed")
        monkeypatch.setattr(sources, "has_ffmpeg", lambda: False)
    else:
        monkeypatch.setattr(sources, "has_pyav", lambda: False)


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm", "a.ts", "a.mov"])
def test_sound_that_begins_later_than_the_video(tmp_path, decoder, name):
    path = made(tmp_path / name, *VIDEO, *LATE, "-map", "0:v", "-map", "1:a")
    for source in (path, Pipe(path.read_bytes())):
        with Sound(source) as sound:
            pcm = heard(sound)
        assert abs(onset(pcm) - 5) < 0.07 and abs(len(pcm) / 24_000 - 7) < 0.15


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.mka"])
def test_sound_alone_that_begins_late(tmp_path, decoder, name):
    """MP4 and Matroska count from zero, so that an empty beginning is meant."""
    path = made(tmp_path / name, *LATE)
    for source in (path, Pipe(path.read_bytes())):
        assert abs(onset(heard(Sound(source))) - 5) < 0.07


@needs_ffmpeg
def test_a_broadcast_counts_from_anywhere(tmp_path, decoder):
    """Its times say how long the station has been on the air."""
    path = made(tmp_path / "a.ts", "-i", "pipe:0", "-output_ts_offset", 3600)
    for source in (path, Pipe(path.read_bytes())):
        assert onset(heard(Sound(source))) < 0.1


@needs_ffmpeg
def test_times_that_are_a_clock(tmp_path, decoder):
    """Live streams in fragments may count from 1970."""
    arguments = ["-output_ts_offset", 1_700_000_000, "-f", "matroska"]
    path = made(tmp_path / "a.mka", "-i", "pipe:0", *arguments)
    assert abs(len(heard(Sound(path))) / 24_000 - 2) < 0.2


@needs_ffmpeg
def test_a_gap_in_the_middle_is_silence(tmp_path, decoder):
    select = "aselect='not(between(t,1,4))'"
    path = made(tmp_path / "a.mka", "-i", "pipe:0", "-af", select, pcm=tone(5))
    pcm = heard(Sound(path))
    assert abs(len(pcm) / 24_000 - 5) < 0.15
    assert np.abs(pcm[30_000:90_000]).max() < 0.01 and np.abs(pcm[100_000:110_000]).max() > 0.4


@needs_ffmpeg
def test_sound_from_the_beginning_stays_there(tmp_path, decoder):
    for name in ("a.mp4", "a.mkv", "a.ts", "a.aac"):
        pcm = heard(Sound(made(tmp_path / name, "-i", "pipe:0")))
        assert onset(pcm) < 0.06 and abs(len(pcm) / 24_000 - 2) < 0.15


def joined(*pieces, rate=1000):
    return heard(on_time([(time, np.ones((size, 2), "f4")) for time, size in pieces], rate))[:, 0]


def test_gaps_are_filled():
    pcm = joined((0.5, 100), (None, 100), (2.0, 10))
    assert len(pcm) == 2010
    assert (
        not pcm[:500].any() and pcm[500:700].all() and not pcm[700:2000].any() and pcm[2000:].all()
    )


def test_rounding_is_no_gap():
    assert len(joined(*[(round(i * 0.021, 2), 21) for i in range(500)])) == 500 * 21


def test_nothing_is_dropped_where_times_begin_again():
    """As in files that were joined; and what follows keeps its distance."""
    pcm = joined((0, 1000), (1, 1000), (0, 1000), (1.5, 10))
    assert len(pcm) == 3000 + 500 + 10 and not pcm[3000:3500].any()


def test_a_clock_that_was_set_is_no_silence():
    assert len(joined((0, 10), (CLOCK_SECONDS + 1, 10), (CLOCK_SECONDS + 1.01, 10))) == 30


def test_long_silence_comes_in_pieces():
    blocks = list(on_time([(3600.0, np.ones((1, 1), "f4"))], 1000))
    assert max(map(len, blocks)) == 1000 and sum(map(len, blocks)) == 3_600_001
