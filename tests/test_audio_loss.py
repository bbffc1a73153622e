"""Nothing is lost without a word: channels that cancel each other, cut files, joined files."""

import io
import logging
import os

import numpy as np
import pytest
import soundfile
from sounds import Pipe, encoded, ffmpeg, heard, needs_ffmpeg, pitch_and_level, tone, warnings

from dsm_mlx.audio import Sound, read, sources
from dsm_mlx.audio.downmix import Downmix
from dsm_mlx.errors import AudioError

RNG = np.random.default_rng(0)
CANCEL = "the channels cancel each other (one is inverted); only channel {} is heard"


def noise(seconds, level=0.1):
    return (level * RNG.standard_normal(round(24_000 * seconds))).astype("f4")


def stereo(left, right):
    return np.stack([left, right], axis=1).astype("f4")


def down(pcm, size=1000, rate=24_000):
    """Down-mixed in blocks of a size."""
    downmix = Downmix(rate, "it")
    blocks = [downmix(pcm[start : start + size]) for start in range(0, len(pcm), size)]
    return np.concatenate([*blocks, downmix.flush()])


# ---- channels


@pytest.mark.parametrize(
    "right",
    [lambda x: -x, lambda x: -0.8 * x, lambda x: -0.9 * x + noise(1, 0.01)],
    ids=["inverted", "weaker", "with noise of its own"],
)
def test_channels_that_cancel_each_other(tmp_path, caplog, right):
    pcm = stereo(tone(1), right(tone(1)))
    data = encoded(pcm, subtype="FLOAT")
    (tmp_path / "a.wav").write_bytes(data)
    for source in (tmp_path / "a.wav", Pipe(data), data):
        np.testing.assert_array_equal(heard(Sound(source, name="it")), pcm[:, 0])
    np.testing.assert_array_equal(heard(Sound(pcm, 24_000, name="it")), pcm[:, 0])
    assert warnings(caplog) == [f"it: {CANCEL.format(1)}"] * 4


def test_the_strongest_channel_is_heard(caplog):
    pcm = stereo(-0.8 * tone(1), tone(1))
    np.testing.assert_array_equal(down(pcm), pcm[:, 1])
    assert warnings(caplog) == [f"it: {CANCEL.format(2)}"]


@pytest.mark.parametrize(
    "pcm",
    [
        stereo(tone(1), tone(1)),
        stereo(tone(1), 0 * tone(1)),
        stereo(noise(1), noise(1)),
        stereo(tone(1), tone(1, hertz=441)),
        stereo(1e-5 * tone(1), -1e-5 * tone(1)),
        np.stack([noise(1)] + [0 * noise(1)] * 7, 1),
        RNG.standard_normal((24_000, 64)).astype("f4") / 10,
    ],
    ids=["same", "one is silent", "unlike", "beats", "inaudible", "one of eight", "64"],
)
def test_other_channels_are_mixed_by_the_mean(caplog, pcm):
    np.testing.assert_allclose(down(pcm), pcm.mean(axis=1), atol=1e-6)
    assert not warnings(caplog)


def test_two_speakers_are_both_heard_after_an_inverted_jingle(caplog):
    """The mean comes back where the channels no longer cancel each other."""
    jingle = stereo(tone(2), -tone(2))
    talk = stereo(np.append(noise(2), np.zeros(48_000)), np.append(np.zeros(48_000), noise(2)))
    mixed = down(np.concatenate([jingle, talk]))
    np.testing.assert_allclose(mixed[:48_000], jingle[:, 0])
    np.testing.assert_allclose(mixed[-80_000:], talk.mean(axis=1)[-80_000:], atol=1e-6)
    assert len(warnings(caplog)) == 1


def test_silence_before_does_not_hide_it():
    pcm = np.concatenate([np.zeros((24_000, 2), "f4"), stereo(tone(1), -tone(1))])
    np.testing.assert_array_equal(down(pcm), pcm[:, 0])


def test_any_split_is_mixed_the_same():
    pcm = np.concatenate([stereo(tone(0.3), -tone(0.3)), stereo(noise(0.31), noise(0.31))])
    whole = down(pcm, len(pcm))
    assert len(whole) == len(pcm)
    for size in (1, 7, 480, 999):
        np.testing.assert_array_equal(down(pcm, size), whole)


def test_one_channel_does_not_wait():
    block = tone(0.001)[:, None]
    assert len(Downmix(24_000, "it")(block)) == len(block)


# ---- cut files


def cut(data, share=0.5):
    return data[: int(len(data) * share)]


def long_noise():
    """Noise does not compress to nothing, so that half a file is half of its sound."""
    return tone(10) / 2 + noise(10)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3", "AIFF", "AU"])
def test_what_is_missing_is_told(tmp_path, caplog, format):
    data = cut(encoded(long_noise(), format=format))
    (tmp_path / "a").write_bytes(data)
    for source in (tmp_path / "a", data):
        caplog.clear()
        pcm = heard(Sound(source, name="it"))
        assert 4 < len(pcm) / 24_000 < 6 and abs(pitch_and_level(pcm)[0] - 440) < 2
        (message,) = warnings(caplog)
        assert message.startswith("it ends early: ") and " s of 10.00 s are missing" in message
        assert abs(float(message.split()[3]) + len(pcm) / 24_000 - 10) < 0.02


def test_ogg_does_not_tell_how_much_is_missing(caplog):
    pcm = heard(Sound(cut(encoded(long_noise(), format="OGG")), name="it"))
    assert 4 < len(pcm) / 24_000 < 6
    assert warnings(caplog)[0].startswith("it ends early, at ")


@needs_ffmpeg
@pytest.mark.parametrize(
    "args",
    [
        ["-movflags", "faststart", "a.m4a"],
        ["-movflags", "frag_keyframe+empty_moov", "a.mp4"],
        ["a.webm"],
        ["a.flac"],
        ["a.au"],
    ],
)
def test_what_is_missing_is_told_by_other_decoders(tmp_path, caplog, args):
    path = tmp_path / args[-1]
    ffmpeg("-i", "-", *args[:-1], path, pcm=long_noise())
    os.truncate(path, path.stat().st_size // 2)
    for source in (path, Pipe(path.read_bytes())):
        caplog.clear()
        pcm = heard(Sound(source, name="it"))
        (message,) = warnings(caplog)
        assert message.startswith("it ends early: ") and " are missing" in message
        assert abs(float(message.split()[3]) + len(pcm) / 24_000 - 10) < 0.15


@needs_ffmpeg
def test_a_video_that_goes_on_without_sound_is_no_cut_file(tmp_path, caplog):
    path = tmp_path / "a.mkv"
    ffmpeg("-f", "lavfi", "-i", "color=s=32x32:r=5:d=8", "-i", "pipe:0", path, pcm=tone(2))
    assert len(read(path)) < 60_000 and not warnings(caplog)


@pytest.mark.parametrize("format", ["WAV", "FLAC", "MP3", "OGG", "AIFF", "AU", "CAF"])
def test_whole_files_are_no_warning(caplog, format):
    data = encoded(long_noise(), format=format)
    assert abs(len(heard(Sound(data))) - 240_000) < 3000 and not warnings(caplog)


# ---- joined files, and such as do not tell their length


def joined(format):
    return encoded(tone(3), format=format) + encoded(tone(4, hertz=880), format=format)


@needs_ffmpeg
@pytest.mark.parametrize("format", ["MP3", "OGG"])
def test_joined_files_are_read_to_their_end(tmp_path, caplog, format):
    """libsndfile gives the first of them alone."""
    data = joined(format)
    (tmp_path / "a").write_bytes(data)
    for source in (tmp_path / "a", data, Pipe(data)):
        pcm = heard(Sound(source))
        assert abs(len(pcm) / 24_000 - 7) < 0.3
        assert abs(pitch_and_level(pcm[-48_000:])[0] - 880) < 2
    assert not warnings(caplog)


@needs_ffmpeg
def test_an_mp3_that_does_not_tell_its_length_is_read_to_its_end(tmp_path):
    path = tmp_path / "a.mp3"
    ffmpeg("-i", "-", "-write_xing", 0, "-q:a", 5, path, pcm=long_noise())
    assert soundfile.info(path).duration < 8  # what it would be by its first frame
    assert abs(len(read(path)) / 24_000 - 10) < 0.2


@pytest.mark.parametrize("format", ["MP3", "OGG"])
def test_where_nothing_else_reads_them_there_is_a_warning(monkeypatch, caplog, format):
    monkeypatch.setattr(sources, "_decoders", list)
    monkeypatch.setattr(sources, "_streaming_decoders", list)
    pcm = heard(Sound(joined(format), name="it"))
    assert abs(len(pcm) / 24_000 - 3) < 0.2
    (message,) = warnings(caplog)
    assert message.startswith("it ends early") and "ffmpeg would read all" in message


# ---- no sound at all


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_video_without_sound(tmp_path, name):
    path = tmp_path / name
    ffmpeg("-f", "lavfi", "-i", "color=s=32x32:r=5:d=1", path)
    for source in (path, Pipe(path.read_bytes()), path.read_bytes()):
        with pytest.raises(AudioError) as raised:
            Sound(source, name="it")
        assert str(raised.value) == "it: there is no sound in it, only video"


def test_warnings_go_to_the_logger_of_the_package(caplog):
    with caplog.at_level(logging.WARNING, logger="dsm_mlx"):
        heard(Sound(io.BytesIO(cut(encoded(tone(1))))))
    assert [record.name for record in caplog.records] == ["dsm_mlx"]
