"""Whatever sound is given as: paths, file objects, bytes, arrays; and what it is not."""

import array
import gzip
import io
import os
import pathlib
import subprocess
import sys
import tempfile

import mlx.core as mx
import numpy as np
import pytest
import soundfile
from sounds import Pipe, encoded, ffmpeg, heard, needs_ffmpeg, pitch_and_level, tone

from dsm_mlx.audio import AudioFile, Sound, read, read_stream
from dsm_mlx.errors import AudioError

TONE = tone(0.5)
WAV, FLAC = encoded(TONE), encoded(TONE, format="FLAC")


class Folder:
    """An os.PathLike that is no pathlib.Path, and may give bytes."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


@pytest.mark.parametrize("data", [WAV, FLAC], ids=["wav", "flac"])
def test_all_that_a_file_may_come_as(tmp_path, data):
    path = tmp_path / "a.sound"
    path.write_bytes(data)
    spooled = tempfile.SpooledTemporaryFile()  # noqa: SIM115
    spooled.write(data)
    spooled.seek(0)
    with open(path, "rb") as file, open(path, "rb", buffering=0) as unbuffered, spooled:
        sources = [
            str(path),
            path,
            Folder(str(path)),
            Folder(os.fsencode(path)),
            os.path.relpath(path),
            file,
            unbuffered,
            spooled,
            io.BytesIO(data),
            gzip.GzipFile(fileobj=io.BytesIO(gzip.compress(data))),
            data,
            bytearray(data),
            memoryview(data),
            memoryview(data).cast("b"),
        ]
        for source in sources:
            np.testing.assert_allclose(read(source), TONE, atol=2**-15)
        assert not file.closed  # it is the caller's


@pytest.mark.parametrize(
    "make",
    [
        np.array,
        mx.array,
        lambda pcm: array.array("f", pcm.tolist()),
        lambda pcm: memoryview(pcm),
        lambda pcm: np.asfortranarray(np.stack([pcm, pcm], 1)),
        lambda pcm: pcm[:, None],
        lambda pcm: pcm[::-1][::-1],
        lambda pcm: np.ma.array(pcm),
        lambda pcm: (pcm * 32767).astype("i2"),
        lambda pcm: array.array("h", (pcm * 32767).astype(int).tolist()),
        lambda pcm: mx.array(pcm).astype(mx.float16),
    ],
)
def test_all_that_an_array_may_come_as(make):
    np.testing.assert_allclose(read(make(TONE), 24_000), TONE, atol=1e-3)


def test_arrays_are_resampled_and_mixed():
    stereo = np.stack([tone(1, 48_000), np.zeros(48_000, "f4")], axis=1)
    pcm = read(stereo, sample_rate=48_000)
    assert len(pcm) == 24_000
    assert abs(pitch_and_level(pcm)[1] - 0.25) < 0.001


def test_a_file_and_its_array_are_the_same(tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(1, 16_000), 16_000, subtype="FLOAT")
    np.testing.assert_array_equal(
        read(tmp_path / "a.wav"), read(tone(1, 16_000), sample_rate=16_000)
    )


def test_what_was_given_is_not_changed():
    given = TONE.copy()
    read(given, 16_000)
    np.testing.assert_array_equal(given, TONE)


@pytest.mark.parametrize("pcm", [TONE, mx.array(TONE), memoryview(TONE)])
def test_an_array_without_its_rate(pcm):
    with pytest.raises(ValueError, match="sample_rate is missing"):
        read(pcm)
    with pytest.raises(ValueError, match="sample_rate is missing"):
        Sound(pcm)


@pytest.mark.parametrize(
    ("pcm", "error", "expected"),
    [
        (np.zeros(0, "f4"), AudioError, "audio array: no sound in it (0 samples)"),
        (np.zeros((0, 2), "f4"), AudioError, "audio array: no sound in it (0 samples)"),
        (np.zeros((1, 24_000), "f4"), ValueError, "shape (1, 24000) (expected (samples,) or"),
        (np.zeros((2, 2, 2), "f4"), ValueError, "shape (2, 2, 2)"),
        (np.float32(1), ValueError, "shape ()"),
        (np.zeros((5, 0), "f4"), ValueError, "shape (5, 0)"),
        (np.array([0, np.nan], "f4"), AudioError, "audio array: NaN or infinity at 0.000 s"),
        (np.zeros(5, bool), ValueError, "audio array is an array of bool (expected floats"),
        (np.array(["a"]), ValueError, "audio array is an array of <U1"),
    ],
)
def test_bad_arrays(pcm, error, expected):
    with pytest.raises(error) as raised:
        read(pcm, 24_000)
    assert expected in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "value", [None, 5, 5.0, [0.0, 0.1], ["a.wav"], {"a": 1}, object(), lambda: 0, {"a" * 9000}]
)
def test_what_is_no_sound_at_all(value):
    with pytest.raises(TypeError) as raised:
        Sound(value)
    message = str(raised.value)
    assert message.startswith("audio is ") and "(expected a path, a binary file object" in message
    assert len(message) < 250 and "\n" not in message


def test_a_path_in_bytes_is_not_mistaken():
    with pytest.raises(AudioError, match=r"^the bytes: not a sound file .* it is plain text"):
        read(b"/home/user/speech.wav")


@pytest.mark.parametrize("data", [b"", bytearray()])
def test_no_bytes(data):
    with pytest.raises(AudioError, match=r"^the bytes: there is nothing in it$"):
        read(data)
    with pytest.raises(AudioError, match=r"^it: there is nothing in it$"):
        Sound(io.BytesIO(data), name="it")


def test_streams_that_cannot_be_read(tmp_path):
    (tmp_path / "a.txt").write_text("hello")
    with open(tmp_path / "a.txt") as text, pytest.raises(TypeError, match=r"a.txt is open as text"):
        read(text)

    class Odd:
        def __init__(self, given):
            self.given = given

        def read(self, size):
            if isinstance(self.given, Exception):
                raise self.given
            return self.given

    for given in ("text", None, 5):
        with pytest.raises(TypeError, match=r"^the stream: read\(\) gave .*\(expected bytes\)$"):
            read(Odd(given))
    with pytest.raises(AudioError, match=r"^the stream: cannot be read: Connection reset by peer$"):
        read(Odd(ConnectionResetError(104, "Connection reset by peer")))
    closed = io.BytesIO(WAV)
    closed.close()
    with pytest.raises(AudioError, match=r"^the stream: cannot be read: I/O operation on closed"):
        read(closed)


def test_a_stream_that_fails_in_the_middle():
    """Also where another thread hands it to a decoder."""

    class Broken(Pipe):
        def read1(self, size=-1):
            data = super().read1(size)
            if self.at >= len(self.data):
                raise OSError(5, "Input/output error")
            return data

    for data in (WAV, FLAC):
        with pytest.raises(AudioError, match=r"^it: cannot be read: Input/output error$"):
            heard(read_stream(Broken(data), name="it"))


@needs_ffmpeg
def test_an_error_of_the_streams_own_is_not_lost():
    """It happens in another thread."""

    class Surprise(Exception):
        pass

    class Broken(Pipe):
        def read1(self, size=-1):
            if self.at >= len(self.data):
                raise Surprise
            return super().read1(size)

    with pytest.raises(Surprise):
        heard(read_stream(Broken(FLAC)))


def test_a_file_object_is_read_from_where_it_stands():
    for data in (WAV, FLAC):
        stream = io.BytesIO(b"sixteen bytes of" + data)
        stream.seek(16)
        np.testing.assert_allclose(read(stream), TONE, atol=2**-15)


def test_names_that_are_not_utf_8(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.wav")
    for data in (WAV, FLAC):
        try:
            with open(name, "wb") as file:
                file.write(data)
        except OSError:
            pytest.skip("this file system takes UTF-8 names only")
        for path in (os.fsdecode(name), pathlib.Path(os.fsdecode(name)), Folder(name)):
            np.testing.assert_allclose(read(path), TONE, atol=2**-15)
    os.truncate(name, 20)
    with pytest.raises(AudioError, match=r"caf\\udce9\.wav: "):
        read(os.fsdecode(name))


@needs_ffmpeg
@pytest.mark.parametrize("decoder", ["ffmpeg", "pyav"])
def test_names_that_are_not_utf_8_for_other_decoders(tmp_path, monkeypatch, decoder):
    from dsm_mlx.audio import sources

    if decoder == "pyav":
        pytest.importorskip("av", reason="PyAV is optional and not installed")
        monkeypatch.setattr(sources, "has_ffmpeg", lambda: False)
    ffmpeg("-i", "-", tmp_path / "a.m4a", pcm=TONE)
    name = os.path.join(os.fsencode(tmp_path), b"-caf\xe9 'a'.m4a")
    try:
        os.rename(tmp_path / "a.m4a", name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    assert abs(len(read(os.fsdecode(name))) - 12_000) < 1500


@pytest.mark.parametrize("name", ["a\nb.wav", "a" * 5000 + ".wav", "a\0b.wav", ""])
def test_names_in_errors_are_one_short_line(name):
    with pytest.raises(AudioError, match=r": no such file$") as raised:
        read(name)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 230


def test_durations(tmp_path):
    path = tmp_path / "a"
    for data in (WAV, FLAC):
        path.write_bytes(data)
        for source in (path, data, io.BytesIO(data)):
            with Sound(source) as sound:
                assert sound.duration == 0.5
    assert Sound(TONE, 12_000).duration == 1
    assert Sound(Pipe(WAV)).duration == 0.5  # its header tells
    assert Sound(Pipe(WAV[:40] + b"\xff" * 4 + WAV[44:])).duration is None


def test_blocks_of_one_size():
    blocks = list(Sound(tone(1, 44_100), 44_100).blocks(1920))
    assert [len(block) for block in blocks] == [1920] * 12 + [960]
    assert all(block.dtype == np.float32 for block in blocks)


@pytest.mark.parametrize("samples", [0, -1, 1920.0, "1920", None])
def test_blocks_of_a_size_that_cannot_be(samples):
    with pytest.raises((TypeError, ValueError), match=f"samples is {samples!r} .expected"):
        list(Sound(TONE, 24_000).blocks(samples))


def test_target_rates():
    assert len(read(TONE, 24_000, 16_000)) == 8000
    with Sound(WAV, target=48_000) as sound:
        assert sound.sample_rate == 48_000 and len(heard(sound)) == 24_000


def test_sound_is_given_out_once():
    sound = Sound(WAV, name="it")
    heard(sound)
    with pytest.raises(ValueError, match=r"^it: its sound was given out already"):
        heard(sound)


def test_what_was_opened_is_closed(tmp_path):
    """At the end, when the iteration is left, and when it is never begun."""
    (tmp_path / "a.wav").write_bytes(WAV)
    ended, left, unused = (AudioFile(tmp_path / "a.wav") for _ in range(3))
    heard(ended)
    blocks = iter(left)
    next(blocks)
    blocks.close()
    with unused:
        pass
    assert all(sound._source._reader.stream.closed for sound in (ended, left, unused))


_BROKEN_OFF = """
import sys, threading, dsm_mlx.audio, numpy as np
there = threading.Event()
def never_ends():
    sound = dsm_mlx.audio.Sound(np.zeros(44_100, np.float32), 44_100, target=24_000)
    for block in sound.blocks(100):
        break
    del block
    there.set()
    threading.Event().wait()
threading.Thread(target=never_ends, daemon=True).start()
there.wait()
"""


def test_nothing_is_said_at_exit_of_a_sound_that_was_broken_off():
    """Whoever still has it then: soxr would tell of its own objects that are left."""
    ended = subprocess.run([sys.executable, "-c", _BROKEN_OFF], capture_output=True, check=True)
    assert ended.stderr == b""


def test_bad_options():
    for name in ("raw", "assumed"):
        with pytest.raises(TypeError, match=rf"^{name} is 's16le' \(expected a RawFormat\)"):
            Sound(WAV, **{name: "s16le"})
