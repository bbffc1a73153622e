"""Sound through pipes: WAV and raw streams as they arrive, and WAV files as they are written."""

import io
import os
import shutil
import subprocess
import threading

import numpy as np
import pytest
import soundfile

from dsm_mlx.audio import WavWriter, read, read_stream, to_s16le
from dsm_mlx.errors import AudioError

TONE = (0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 24_000)).astype("f4")


def wav_bytes(pcm=TONE, rate=24_000, subtype="PCM_16", format="WAV"):
    data = io.BytesIO()
    soundfile.write(data, pcm, rate, subtype=subtype, format=format)
    return data.getvalue()


def heard(data, **options):
    return np.concatenate(list(read_stream(io.BytesIO(data), **options)))


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, data, sizes):
        self.data, self.sizes = data, sizes

    def readable(self):
        return True

    def read1(self, size=-1):
        size = min(size, next(self.sizes))
        out, self.data = self.data[:size], self.data[size:]
        return out


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_wav_encoding(subtype, format):
    step = 2 ** -{"PCM_U8": 7, "PCM_16": 15}.get(subtype, 23)
    np.testing.assert_allclose(heard(wav_bytes(TONE, 24_000, subtype, format)), TONE, atol=step)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_sizes_that_pipes_leave(size):
    data = bytearray(wav_bytes())
    data[4:8] = data[40:44] = size.to_bytes(4, "little")
    assert len(heard(bytes(data))) == 24_000


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg is not installed")
def test_wav_from_ffmpeg():
    command = ["ffmpeg", "-v", "error", "-f", "wav", "-i", "-", "-ar", "16000"]
    run = subprocess.run([*command, "-f", "wav", "-"], input=wav_bytes(), capture_output=True)
    pcm = heard(run.stdout)
    assert abs(len(pcm) - 24_000) < 50
    np.testing.assert_allclose(pcm[2000:-2000], TONE[: len(pcm)][2000:-2000], atol=0.01)


def test_what_follows_the_sound_is_not_sound():
    assert len(heard(wav_bytes() + b"LIST\x40\0\0\0" + bytes(64))) == 24_000


def test_a_chunk_before_the_sound_is_skipped():
    data = wav_bytes()
    assert len(heard(data[:12] + b"junk\x05\0\0\0" + bytes(6) + data[12:])) == 24_000


def test_raw_sound():
    np.testing.assert_allclose(heard(to_s16le(TONE) + b"\1"), TONE, atol=2**-15)
    assert len(heard(b"\0\1")) == 1


def test_raw_sound_at_another_rate():
    assert len(heard(to_s16le(TONE), sample_rate=16_000)) == 16_000


@pytest.mark.parametrize(
    "data", [to_s16le(TONE), wav_bytes(np.stack([TONE] * 3, 1), 44_100, "PCM_24")]
)
def test_any_split_gives_the_same_samples(data):
    whole = heard(data)
    rng = np.random.default_rng(0)
    sizes = iter(lambda: int(rng.integers(1, 700)), None)
    pcm = np.concatenate(list(read_stream(Trickle(data, sizes))))
    np.testing.assert_array_equal(pcm, whole)


def test_sound_is_given_as_it_arrives():
    out, into = os.pipe()
    with open(out, "rb") as reader, open(into, "wb", buffering=0) as writer:
        blocks = read_stream(reader)
        for _ in range(3):
            # nothing but these bytes is in the pipe: waiting for more would hang
            writer.write(to_s16le(TONE[:1920]))
            np.testing.assert_allclose(next(blocks), TONE[:1920], atol=1e-4)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "no sound in it (0 samples)"),
        (b"\1", "no sound in it (0 samples)"),
        (wav_bytes(TONE[:0]), "no sound in it (0 samples)"),
        (b"RIFF\0\0\0\0AVI " + bytes(50), "a RIFF stream that is not WAVE"),
        (wav_bytes()[:9], "a RIFF stream that is not WAVE"),
        (wav_bytes()[:30], "the WAV header is damaged"),
        (wav_bytes()[:36], "the WAV header ends before the sound begins"),
        (wav_bytes(subtype="ULAW"), "WAV format 7, 8 bits"),
        (wav_bytes(subtype="MS_ADPCM"), "expected PCM of 8, 16, 24 or 32 bits or float"),
        (wav_bytes(format="FLAC"), "not a compressed file"),
        (wav_bytes(format="OGG", subtype="VORBIS"), "not a compressed file"),
        (wav_bytes(np.append(TONE, np.nan), subtype="FLOAT"), "NaN or infinity at 1.000 s"),
        (wav_bytes(rate=10), "sample rate 10 Hz"),
    ],
)
def test_bad_streams(data, expected):
    with pytest.raises(AudioError) as raised:
        heard(data)
    assert str(raised.value).startswith("stdin: ")
    assert expected in str(raised.value)


# ---- writing


def test_written_and_read_again(tmp_path):
    with WavWriter(tmp_path / "a.wav", 16_000) as writer:
        writer.write(TONE[:7000])
        writer.write(TONE[7000:])
    assert soundfile.info(tmp_path / "a.wav").samplerate == 16_000
    np.testing.assert_allclose(read(tmp_path / "a.wav", target=16_000), TONE, atol=2**-15)
    # 16-bit sound survives a copy without a change
    with WavWriter(tmp_path / "b.wav", 16_000) as writer:
        writer.write(read(tmp_path / "a.wav", target=16_000))
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


def test_samples_are_clipped():
    samples = np.frombuffer(to_s16le(np.array([-9, -1, 0, 1, 9])), "<i2")
    assert samples.tolist() == [-32768, -32768, 0, 32767, 32767]


def test_bad_samples(tmp_path):
    with pytest.raises(AudioError, match="NaN or infinity"), WavWriter(tmp_path / "a") as writer:
        writer.write(np.array([0, np.nan]))


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(AudioError, match=r"missing/a\.wav: cannot be written: No such file"):
        WavWriter(tmp_path / "missing" / "a.wav")
    with pytest.raises(AudioError, match="cannot be written: Is a directory"):
        WavWriter(tmp_path)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full of Linux")
def test_a_full_disk():
    expected = pytest.raises(AudioError, match="cannot be written: No space left on device")
    with open("/dev/full", "wb", buffering=0) as full, expected:
        WavWriter(full)


def test_a_closed_pipe_is_the_callers():
    out, into = os.pipe()
    os.close(out)
    with open(into, "wb", buffering=0) as stream, pytest.raises(BrokenPipeError):
        WavWriter(stream)
