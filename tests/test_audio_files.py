"""Sound files: what any file becomes, and what a file that is not one says."""

import os
import shutil
import stat
import sys

import numpy as np
import pytest
import soundfile
from sounds import ffmpeg, needs_ffmpeg, pitch_and_level, tone

from dsm_mlx.audio import AudioFile, read
from dsm_mlx.audio.pyav import has_pyav
from dsm_mlx.errors import AudioError


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 24_000, 44_100, 48_000, 192_000])
def test_any_rate_keeps_length_pitch_and_level(tmp_path, rate):
    path = tmp_path / "tone.wav"
    source = tone(1.234, rate)
    soundfile.write(path, source, rate, subtype="FLOAT")
    with AudioFile(path) as file:
        assert file.duration == len(source) / rate
        pcm = np.concatenate(list(file.blocks()))
    assert pcm.dtype == np.float32
    assert abs(len(pcm) - len(source) * 24_000 / rate) <= 0.5
    hertz, level = pitch_and_level(pcm)
    assert abs(hertz - 440) < 2
    assert abs(level - 0.5) < 0.002


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3", "a.aiff"])
def test_formats_of_libsndfile(tmp_path, name):
    soundfile.write(tmp_path / name, tone(2), 24_000)
    pcm = read(tmp_path / name)
    assert abs(len(pcm) - 48_000) < 3_000  # mp3 pads
    assert abs(pitch_and_level(pcm)[0] - 440) < 2


@pytest.mark.parametrize("name", ["a.flac", "a.ogg", "a.mp3"])
def test_block_by_block_is_the_whole_file(tmp_path, name):
    noise = np.random.default_rng(0).normal(0, 0.1, 240_000)
    soundfile.write(tmp_path / name, tone(10) + noise, 24_000)
    whole, _ = soundfile.read(tmp_path / name, dtype="float32")
    np.testing.assert_allclose(read(tmp_path / name), whole, atol=1e-6)


def test_channels_are_mixed_by_the_mean(tmp_path):
    pcm = np.stack([tone(0.1) * gain for gain in (1, 0.5, 0, 0, -0.5)], axis=1)
    soundfile.write(tmp_path / "five.wav", pcm, 24_000, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "five.wav"), tone(0.1) * 0.2, atol=1e-6)


@pytest.mark.parametrize("samples", [1, 7, 1920, 100_000])
def test_any_split_gives_the_same_samples(tmp_path, samples):
    soundfile.write(tmp_path / "tone.wav", tone(0.2, 44_100), 44_100)
    with AudioFile(tmp_path / "tone.wav") as file:
        blocks = list(file.blocks(samples))
    assert all(len(block) == samples for block in blocks[:-1])
    assert 1 <= len(blocks[-1]) <= samples
    np.testing.assert_array_equal(np.concatenate(blocks), read(tmp_path / "tone.wav"))


def test_a_long_file_is_read_as_it_is_needed(tmp_path):
    path = tmp_path / "long.wav"
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for _ in range(60):
            file.write(np.zeros((48_000, 2), "i2"))
    with AudioFile(path) as file:
        blocks = file.blocks(1920)
        assert len(next(blocks)) == 1920
        assert file._source._reader.stream.tell() < path.stat().st_size / 20


def test_one_sample_is_sound(tmp_path):
    soundfile.write(tmp_path / "one.wav", np.array([0.25]), 24_000, subtype="FLOAT")
    assert read(tmp_path / "one.wav").tolist() == [0.25]


# ---- formats that the system decodes


def encode(path, seconds=2.0, channels=2):
    """A tone as whatever the ending of `path` says."""
    ffmpeg(
        "-i",
        "pipe:0",
        path,
        pcm=np.repeat(tone(seconds, 44_100)[:, None], channels, 1),
        rate=44_100,
    )


def check_tone(path, duration=2.0):
    with AudioFile(path) as file:
        assert file.duration is None or abs(file.duration - duration) < 0.1
        pcm = np.concatenate(list(file.blocks()))
    assert abs(len(pcm) / 24_000 - duration) < 0.1
    hertz, level = pitch_and_level(pcm)
    assert abs(hertz - 440) < 2
    assert abs(level - 0.5) < 0.05


@needs_ffmpeg
@pytest.mark.parametrize("name", ["a.m4a", "a.aac", "a.webm", "-a b'c.mp4"])
def test_formats_of_ffmpeg(tmp_path, monkeypatch, name):
    encode(tmp_path / name)
    check_tone(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    check_tone(name)


@needs_ffmpeg
def test_leaving_early_ends_ffmpeg(tmp_path):
    encode(tmp_path / "a.m4a", 30)
    with AudioFile(tmp_path / "a.m4a") as file:
        next(file.blocks(10))
        process = file._source._process
    assert process.returncode is not None


def program(folder, name, script):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


@needs_ffmpeg
def test_afconvert_helps_where_ffmpeg_cannot_and_cleans_up(tmp_path, monkeypatch):
    encode(tmp_path / "a.m4a")
    real = shutil.which("ffmpeg")
    # afconvert -f caff -d LEI16 IN OUT
    program(tmp_path / "bin", "afconvert", f'exec {real} -v error -i "$5" -c:a pcm_s16le "$6"\n')
    program(tmp_path / "bin", "ffmpeg", "exit 1\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    check_tone(tmp_path / "a.m4a")
    assert not os.listdir(tmp_path / "tmp")


@needs_ffmpeg
def test_the_error_of_the_best_decoder_is_told(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    program(tmp_path / "bin", "afconvert", 'echo "Error: ExtAudioFileOpen failed" >&2; exit 1\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    check_error(tmp_path / "a.m4a", "ffmpeg: ")


@needs_ffmpeg
def test_pyav_is_the_last_resort(tmp_path, monkeypatch):
    pytest.importorskip("av", reason="PyAV is optional and not installed")
    encode(tmp_path / "a.m4a")
    monkeypatch.setenv("PATH", str(tmp_path))
    check_tone(tmp_path / "a.m4a")


def test_without_any_decoder_the_error_says_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "av", None)
    check_error(tmp_path / "a.m4a", "MP4 (m4a, mov) needs ffmpeg (brew install")


def test_a_folder_called_av_is_not_pyav(tmp_path, monkeypatch):
    (tmp_path / "av").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "av", raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert not has_pyav()


# ---- bad files


def check_error(path, expected):
    with pytest.raises(AudioError) as raised:
        read(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert expected in message
    assert "\n" not in message


def test_missing_file(tmp_path):
    check_error(tmp_path / "a.wav", "no such file")


def test_directory(tmp_path):
    check_error(tmp_path, "a directory; expected a sound file")


def test_empty_file(tmp_path):
    (tmp_path / "a.wav").touch()
    check_error(tmp_path / "a.wav", "the file is empty")


@pytest.mark.parametrize("name", ["a.wav", "a.m4a", "a.mp3", "a.raw", "a"])
def test_text_that_is_named_like_sound(tmp_path, name):
    (tmp_path / name).write_text("Dear diary, today I heard nothing.\n" * 50)
    check_error(tmp_path / name, "not a sound file that can be read: it is plain text")


def test_no_samples(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(0), 24_000)
    check_error(tmp_path / "a.wav", "no sound in it (0 samples)")


def test_less_than_one_sample(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(1), 192_000)
    check_error(tmp_path / "a.wav", "no sound in it (1 samples)")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_a_number_inside(tmp_path, bad):
    pcm = tone(4, 16_000)
    pcm[48_000] = bad
    soundfile.write(tmp_path / "a.wav", pcm, 16_000, subtype="FLOAT")
    check_error(tmp_path / "a.wav", "NaN or infinity at 3.000 s")


def test_absurd_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(100), 3)
    check_error(tmp_path / "a.wav", "a sample rate of 3 Hz (expected 1000 to 768000 Hz)")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_truncated_file_gives_what_is_there(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).normal(0, 0.1, 240_000)
    soundfile.write(path, tone(10) + noise, 24_000)
    os.truncate(path, path.stat().st_size // 2)
    pcm = read(path)
    assert 3 < len(pcm) / 24_000 < 7
    assert abs(pitch_and_level(pcm)[0] - 440) < 2


@needs_ffmpeg
def test_a_truncated_m4a_without_its_index_is_an_error(tmp_path):
    encode(tmp_path / "a.m4a")
    os.truncate(tmp_path / "a.m4a", 20_000)
    check_error(tmp_path / "a.m4a", "not a sound file that can be read")


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
@pytest.mark.parametrize("size", [1, 4, 20, 40])
def test_a_file_cut_in_its_header(tmp_path, name, size):
    path = tmp_path / name
    soundfile.write(path, tone(1), 24_000)
    os.truncate(path, size)
    check_error(path, "")


def test_random_bytes(tmp_path):
    path = tmp_path / "a.wav"
    rng = np.random.default_rng(0)
    path.write_bytes(b"RIFF" + rng.bytes(5000))
    check_error(path, "")
