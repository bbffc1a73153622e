"""Sound files as they are written: whole under their name or not there, in several formats."""

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
from sounds import heard, tone, warnings

from dsm_mlx.audio import (
    SoundWriter,
    WavWriter,
    read,
    read_stream,
    to_s16le,
    writable_formats,
)
from dsm_mlx.errors import AudioError

TONE = tone()
LOSSY = {"a.mp3": 0.06, "a.ogg": 0.06}
NAMES = ["a.wav", "a.flac", "a.mp3", "a.ogg", "B.FLAC"]


def written(path, rate=24_000, pcm=TONE, size=1920):
    with SoundWriter(path, rate) as writer:
        for start in range(0, len(pcm), size):
            writer.write(pcm[start : start + size])
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rate", [24_000, 16_000])
def test_written_and_read_again(tmp_path, caplog, name, rate):
    path = written(tmp_path / name, rate)
    assert soundfile.info(path).samplerate == rate
    assert soundfile.info(path).format == name.split(".")[1].upper()
    pcm = read(path, target=rate)
    assert len(pcm) == len(TONE)
    np.testing.assert_allclose(pcm, TONE, atol=LOSSY.get(name, 2**-15))
    assert os.listdir(tmp_path) == [name] and not warnings(caplog)


def test_flac_holds_what_wav_holds(tmp_path):
    pcm = np.concatenate([TONE, 3 * TONE])  # clipped alike
    wav, flac = (written(tmp_path / name, pcm=pcm) for name in ("a.wav", "a.flac"))
    np.testing.assert_array_equal(read(wav), read(flac))
    assert np.abs(read(wav)).max() == 1


def test_a_long_piece_at_once(tmp_path):
    """libsndfile crashes when it is given minutes of ogg at once."""
    path = written(tmp_path / "a.ogg", pcm=tone(240), size=1 << 30)
    assert soundfile.info(path).frames == 240 * 24_000


@pytest.mark.parametrize("name", NAMES)
def test_nothing_is_seen_before_it_is_whole(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"old")
    with SoundWriter(path) as writer:
        writer.write(TONE)
        assert path.read_bytes() == b"old"
    assert len(read(path)) == 24_000


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, None])
@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_what_fails_leaves_what_was_there(tmp_path, name, error):
    path = tmp_path / name
    path.write_bytes(b"old")
    if error:
        with pytest.raises(error), SoundWriter(path) as writer:
            writer.write(TONE)
            raise error
    else:
        writer = SoundWriter(path)
        writer.write(TONE)
        writer.discard()
        writer.discard()
        writer.close()
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == [name]
    with pytest.raises(ValueError, match="the file is closed"):
        writer.write(TONE)


def test_bad_samples_leave_nothing(tmp_path):
    for bad in (np.nan, 32_768.0):
        with pytest.raises(AudioError), SoundWriter(tmp_path / "a.flac") as writer:
            writer.write(np.array([0, bad]))
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("name", ["a.m4a", "a", ".wav", "a.wav.txt", "a.w" + "x" * 5000])
def test_suffixes_that_are_not_known(tmp_path, name):
    with pytest.raises(ValueError) as raised:
        SoundWriter(tmp_path / name)
    assert "(expected a name that ends in .wav, .flac, .mp3, .ogg)" in str(raised.value)
    assert len(str(raised.value)) < 400 and not os.listdir(tmp_path)


def test_mp3_only_where_libsndfile_can(tmp_path, monkeypatch):
    monkeypatch.setattr(soundfile, "available_formats", lambda: {"FLAC": "", "OGG": ""})
    assert writable_formats() == [".wav", ".flac", ".ogg"]
    with pytest.raises(ValueError, match=r"expected a name that ends in \.wav, \.flac, \.ogg\)"):
        SoundWriter(tmp_path / "a.mp3")


@pytest.mark.parametrize(
    "rate, error",
    [("24000", TypeError), (0, ValueError), (22_050.5, ValueError), (23_456, ValueError)],
)
def test_rates_that_cannot_be_written(tmp_path, rate, error):
    with pytest.raises(error, match=r"^sample_rate is "):
        SoundWriter(tmp_path / "a.mp3", rate)
    assert not os.listdir(tmp_path)


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "a.wav").symlink_to(tmp_path / "there" / "b.wav")
    written(tmp_path / "a.wav")
    assert (tmp_path / "a.wav").is_symlink() and len(read(tmp_path / "there" / "b.wav")) == 24_000


def test_long_names_and_such_that_are_not_utf_8(tmp_path):
    written(tmp_path / ("a" * 251 + ".wav"))
    written(os.fsdecode(os.path.join(os.fsencode(tmp_path), b"caf\xe9.ogg")))
    assert len(os.listdir(tmp_path)) == 2


@pytest.mark.parametrize("writer", [SoundWriter, WavWriter])
@pytest.mark.parametrize("path", ["", "a\0b.wav", "\ud800.wav"])
def test_names_of_no_file(writer, path):
    with pytest.raises(ValueError, match=r"(path|target) is '.*expected the name of a file"):
        writer(path)


def test_permissions_are_those_of_other_files(tmp_path):
    (tmp_path / "other").touch()
    written(tmp_path / "a.flac")
    assert (tmp_path / "a.flac").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("writer", [SoundWriter, WavWriter])
def test_a_place_that_cannot_be_written(tmp_path, writer):
    with pytest.raises(AudioError, match=r"missing/a\.wav: cannot be written: No such file"):
        writer(tmp_path / "missing" / "a.wav")
    (tmp_path / "a.wav").mkdir()
    with pytest.raises(AudioError, match=r"a\.wav: cannot be written: "):
        writer(tmp_path / "a.wav")
    assert os.listdir(tmp_path) == ["a.wav"]


FULL = """
import os, resource, signal, sys
import numpy as np
from dsm_mlx.audio import {writer}
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a limit of the size, as if the disk were full
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    with {writer}(sys.argv[1]) as writer:
        for _ in range(100):
            writer.write(np.random.default_rng(0).uniform(-1, 1, 24_000))
except Exception as error:
    print(type(error).__name__, error)
print(os.listdir(os.path.dirname(sys.argv[1])))
"""


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_a_full_disk(tmp_path, name):
    command = [sys.executable, "-c", FULL.format(writer="SoundWriter"), str(tmp_path / name)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said, files = done.stdout.splitlines()
    assert said.startswith(f"AudioError {tmp_path / name}: cannot be written: ")
    assert files == "[]" and not done.stderr


def test_a_full_disk_for_a_growing_wav(tmp_path):
    command = [sys.executable, "-c", FULL.format(writer="WavWriter"), str(tmp_path / "a.wav")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    said = f"AudioError {tmp_path / 'a.wav'}: cannot be written: File too large"
    assert done.stdout.splitlines()[0] == said and not done.stderr


# ---- WAV that grows in its place, and raw samples


def test_a_copy_of_16_bits_is_the_same(tmp_path):
    written(tmp_path / "a.wav")
    with WavWriter(tmp_path / "b.wav") as writer:
        writer.write(read(tmp_path / "a.wav"))
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


def test_an_interrupted_file_plays(tmp_path):
    writer = WavWriter(tmp_path / "a.wav")
    assert soundfile.info(tmp_path / "a.wav").frames == 0
    for count in (1, 2, 3):
        writer.write(TONE[:1920])
        assert soundfile.info(tmp_path / "a.wav").frames == 1920 * count
    writer.close()


def test_a_wav_stream_in_a_pipe():
    out, into = os.pipe()
    with open(out, "rb") as reader:
        received = []
        thread = threading.Thread(target=lambda: received.extend(read_stream(reader)))
        thread.start()
        with open(into, "wb") as stream:
            writer = WavWriter(stream)
            writer.write(TONE[:0])
            writer.write(TONE)
        thread.join()
    assert len(np.concatenate(received)) == 24_000


def test_a_given_stream_stays_open():
    stream = io.BytesIO()
    with WavWriter(stream) as writer:
        writer.write(TONE)
    assert soundfile.info(io.BytesIO(stream.getvalue())).frames == 24_000


def test_raw_samples_are_read_again():
    np.testing.assert_allclose(heard(read_stream(io.BytesIO(to_s16le(TONE)))), TONE, atol=2**-15)


def test_bad_samples(tmp_path):
    with pytest.raises(AudioError, match="NaN or infinity"), WavWriter(tmp_path / "a") as writer:
        writer.write(np.array([0, np.nan]))


def test_a_closed_pipe_is_the_callers():
    out, into = os.pipe()
    os.close(out)
    with open(into, "wb", buffering=0) as stream, pytest.raises(BrokenPipeError):
        WavWriter(stream)
