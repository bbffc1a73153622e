"""A part of a recording: its seconds, a channel alone, a track; the same from any source."""

import io
import subprocess

import numpy as np
import pytest
import soundfile
from sounds import needs_ffmpeg

from dsm_mlx import AudioError
from dsm_mlx.audio import Part, Sound, sources

RATE = 24_000
rng = np.random.default_rng(1)
TWO = (0.2 * rng.standard_normal((4 * RATE, 2))).astype(np.float32)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("part") / "two.wav"
    soundfile.write(path, TWO, RATE, "FLOAT")
    return path


def as_flac(path):
    """24 bits, in which the samples differ by less than 1e-6."""
    flac = path.with_suffix(".flac")
    soundfile.write(flac, TWO, RATE, "PCM_24")
    return flac


def heard(source, rate=None, **options):
    with Sound(source, rate, **options) as sound:
        return np.concatenate(list(sound)), sound.duration


MAKE = {
    "wav": str,
    "flac": as_flac,
    "bytes": lambda path: path.read_bytes(),
    "stream": lambda path: io.BytesIO(path.read_bytes()),
    "array": lambda path: TWO,
}


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
@pytest.mark.parametrize(("start", "end"), [(0, None), (1.25, None), (0.5, 3.001), (3.9, 60)])
def test_seconds_of_a_channel(file, make, start, end):
    rate = RATE if make is MAKE["array"] else None
    part = Part(start=start, end=end)
    for channel in (1, 2):
        pcm, duration = heard(make(file), rate, part=part, channel=channel)
        expected = TWO[round(start * RATE) : end and round(end * RATE), channel - 1]
        np.testing.assert_allclose(pcm, expected, atol=1e-6)
        assert duration == pytest.approx(len(expected) / RATE)


def test_the_mix_of_a_part_is_a_part_of_the_mix(file):
    whole, _ = heard(file)
    pcm, _ = heard(file, part=Part(start=1, end=2))
    np.testing.assert_allclose(pcm, whole[RATE : 2 * RATE], atol=1e-6)


def test_a_part_is_resampled_to_its_own_length(file):
    pcm, duration = heard(file, target=16_000, part=Part(start=1, end=2.5), channel=2)
    assert (pcm.size, duration) == (24_000, 1.5)


def test_nothing_is_read_after_the_end(tmp_path):
    """Nor checked: what comes later may be damaged. Times in errors are those of the file."""
    bad = TWO.copy()
    bad[3 * RATE :] = np.nan
    soundfile.write(tmp_path / "bad.wav", bad, RATE, "FLOAT")
    assert heard(tmp_path / "bad.wav", part=Part(end=2.9))[0].size == round(2.9 * RATE)
    with pytest.raises(AudioError, match=r"NaN or infinity at 3\.000 s"):
        heard(tmp_path / "bad.wav", part=Part(start=2))


def test_a_start_after_the_end_of_the_sound(file):
    with pytest.raises(AudioError, match=r"two\.wav: no sound after 5 s"):
        heard(file, part=Part(start=5))
    with Sound(file, part=Part(start=5)) as sound:
        assert sound.duration == 0


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"track": 0}, ValueError, "track is 0"),
        ({"track": "2"}, TypeError, "track is '2'"),
        ({"start": -1}, ValueError, "start is -1"),
        ({"start": float("nan")}, ValueError, "start is nan"),
        ({"end": "1:00"}, TypeError, "end is '1:00'"),
        ({"start": 2, "end": 2}, ValueError, r"end is 2 .expected more than start, 2"),
    ],
)
def test_a_part_that_cannot_be(options, error, said):
    with pytest.raises(error, match=said):
        Part(**options)


def test_a_channel_that_is_not_there(file):
    with pytest.raises(ValueError, match=r"channel is 3 .expected 1 to 2"):
        Sound(file, channel=3)
    with pytest.raises(TypeError, match=r"part is 1 .expected a Part"):
        Sound(file, part=1)


@pytest.mark.parametrize("make", MAKE.values(), ids=MAKE)
def test_what_has_one_track_has_no_second(file, make):
    rate = RATE if make is MAKE["array"] else None
    with pytest.raises(AudioError, match=r"has one sound track .track is 2, expected 1"):
        Sound(make(file), rate, part=Part(track=2))


DECODERS = {"ffmpeg": lambda: [sources.FfmpegSource], "PyAV": lambda: [sources.PyavSource]}


@needs_ffmpeg
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("piped", [False, True])
def test_tracks_of_a_container(file, tmp_path, monkeypatch, decoder, piped):
    """Three: stereo, and each of its channels. They differ, and so does what is heard of them."""
    if decoder == "PyAV":
        pytest.importorskip("av", reason="PyAV is optional and not installed")
    monkeypatch.setattr(sources, "_streaming_decoders", DECODERS[decoder])
    mkv = tmp_path / "three.mkv"
    split = "[0:a]channelsplit[l][r]"
    maps = ["-map", "0:a", "-map", "[l]", "-map", "[r]"]
    command = ["ffmpeg", "-v", "error", "-i", file, "-filter_complex", split, *maps]
    subprocess.run([*command, "-c:a", "pcm_f32le", mkv], check=True)
    for track, channels, expected in ((1, 2, TWO.mean(1)), (2, 1, TWO[:, 0]), (3, 1, TWO[:, 1])):
        with Sound(io.BytesIO(mkv.read_bytes()) if piped else mkv, part=Part(track)) as sound:
            assert sound.channels == channels
            np.testing.assert_allclose(np.concatenate(list(sound)), expected, atol=1e-6)
    with pytest.raises(AudioError, match=r"has 3 sound tracks .track is 4, expected 1 to 3"):
        Sound(mkv, part=Part(4))
