"""WAV and raw samples: files and pipes are read by the same code, and give the same."""

import io
import os
import struct
import time
import tracemalloc

import numpy as np
import pytest
from sounds import Pipe, encoded, ffmpeg, heard, needs_ffmpeg, tone, warnings

from dsm_mlx.audio import RawFormat, Sound, read, read_stream, to_s16le
from dsm_mlx.errors import AudioError

TONE = tone()
WAV = encoded(TONE)


def chunk(kind, body, size=None, padded=True):
    size = len(body) if size is None else size
    return kind + struct.pack("<I", size) + body + b"\0" * (len(body) % 2 if padded else 0)


def wav(*chunks, riff=0, kind=b"RIFF"):
    return kind + struct.pack("<I", riff) + b"WAVE" + b"".join(chunks)


FMT = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, 24_000, 48_000, 2, 16))
SAMPLES = to_s16le(TONE)
EXTENSIBLE = chunk(
    b"fmt ",
    struct.pack("<HHIIHHHHI", 0xFFFE, 1, 24_000, 72_000, 3, 24, 22, 20, 4)
    + struct.pack("<H", 1)
    + bytes.fromhex("000000001000800000aa00389b71"),
)
IN_24_BITS = b"".join(b"\0" + SAMPLES[i : i + 2] for i in range(0, len(SAMPLES), 2))
KILLED = {"0": 0, "all ones": 0xFFFFFFFF, "2 GiB": 0x7FFFFFFF}


def everywhere(data, folder):
    """The sound of `data` as a file, in memory, and through a pipe; or the errors."""
    path = folder / "a.wav"
    path.write_bytes(data)
    results = []
    for source in (path, data, Pipe(data)):
        try:
            results.append(heard(Sound(source, name="it")))
        except AudioError as error:  # noqa: PERF203
            results.append(str(error))
    return results


@pytest.mark.parametrize(
    "data",
    [
        *(wav(FMT, chunk(b"data", SAMPLES, size), riff=size) for size in KILLED.values()),
        wav(FMT, chunk(b"data", SAMPLES, 0), riff=36),  # as it was before the first sample
        wav(chunk(b"junk", b"12345"), FMT, chunk(b"data", SAMPLES)),
        wav(chunk(b"bext", b"12345", padded=False), FMT, chunk(b"data", SAMPLES)),
        wav(FMT, chunk(b"LIST", b"x" * 301), chunk(b"data", SAMPLES)),
        wav(FMT, chunk(b"data", SAMPLES), chunk(b"LIST", bytes(64))),
        wav(EXTENSIBLE, chunk(b"data", IN_24_BITS)),
        wav(
            chunk(b"ds64", struct.pack("<QQQI", 0, len(SAMPLES), 24_000, 0)),
            FMT,
            chunk(b"data", SAMPLES, 0xFFFFFFFF),
            chunk(b"LIST", bytes(64)),
            riff=0xFFFFFFFF,
            kind=b"RF64",
        ),
    ],
    ids=[*KILLED, "0 36", "odd", "not padded", "odd LIST", "trailer", "extensible", "RF64"],
)
def test_readers_agree(tmp_path, data):
    for pcm in everywhere(data, tmp_path):
        np.testing.assert_allclose(pcm, TONE, atol=2**-15)


def test_readers_agree_on_cut_files(tmp_path, caplog):
    for pcm in everywhere(WAV[:-24_001], tmp_path):
        np.testing.assert_allclose(pcm, TONE[:11_999], atol=2**-15)
    assert warnings(caplog) == ["it ends early: 0.50 s of 1.00 s are missing"] * 3


def test_a_whole_file_is_no_warning(tmp_path, caplog):
    everywhere(WAV, tmp_path)
    assert not warnings(caplog)


def test_readers_agree_wherever_a_file_is_cut(tmp_path):
    rng = np.random.default_rng(5)
    for size in [*range(0, 60), *rng.integers(60, len(WAV), 40)]:
        results = everywhere(WAV[:size], tmp_path)
        if size:  # what is empty is called so only where that is known
            assert len({str(result) for result in results}) == 1, results


def test_a_header_that_says_nothing_is_empty(tmp_path):
    """Size 0 is meant where the header knows what follows, and no sound is made of that."""
    data = wav(FMT, chunk(b"data", b""), chunk(b"LIST", bytes(64)), riff=36 + 72)
    assert everywhere(data, tmp_path) == ["it: no sound in it (0 samples)"] * 3


@pytest.mark.parametrize("format", ["WAV", "WAVEX", "RF64"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_every_wav_encoding(tmp_path, subtype, format):
    step = 2 ** -{"PCM_U8": 7, "PCM_16": 15}.get(subtype, 23)
    for pcm in everywhere(encoded(TONE, 24_000, format, subtype), tmp_path):
        np.testing.assert_allclose(pcm, TONE, atol=step)


@pytest.mark.parametrize("subtype", ["ULAW", "ALAW"])
def test_telephone_encodings_are_those_of_libsndfile(tmp_path, subtype):
    every = bytes(range(256))
    raw = RawFormat({"ULAW": "u-law", "ALAW": "a-law"}[subtype], 24_000)
    import soundfile

    expected, _ = soundfile.read(
        io.BytesIO(every), format="RAW", samplerate=8000, channels=1, subtype=subtype, dtype="f4"
    )
    np.testing.assert_array_equal(heard(read_stream(io.BytesIO(every), raw=raw)), expected)
    for pcm in everywhere(encoded(TONE, 24_000, "WAV", subtype), tmp_path):
        np.testing.assert_allclose(pcm, TONE, atol=0.02)


@needs_ffmpeg
@pytest.mark.parametrize("subtype", ["MS_ADPCM", "IMA_ADPCM", "GSM610"])
def test_compressed_wav(tmp_path, subtype):
    for pcm in everywhere(encoded(TONE, 24_000, "WAV", subtype), tmp_path):
        np.testing.assert_allclose(pcm[1000:20_000], TONE[1000:20_000], atol=0.1)


@needs_ffmpeg
def test_wav_from_ffmpeg():
    data = ffmpeg("-f", "wav", "-i", "-", "-ar", 16_000, "-f", "wav", "-", pcm=TONE)
    pcm = heard(read_stream(Pipe(data)))
    assert abs(len(pcm) - 24_000) < 50
    np.testing.assert_allclose(pcm[2000:-2000], TONE[: len(pcm)][2000:-2000], atol=0.01)


def test_a_long_chunk_before_the_sound_costs_no_memory():
    """80 MB of it took 109 s once, because all that was skipped was kept."""
    size = 80_000_000
    parts = [wav(b"junk" + struct.pack("<I", size)), *[bytes(1 << 16)] * (size >> 16)]
    parts += [bytes(size % (1 << 16)), FMT + chunk(b"data", SAMPLES)]

    class Stream(io.RawIOBase):
        def read1(self, size):
            if parts and len(parts[0]) > size:
                parts.insert(1, parts[0][size:])
                parts[0] = parts[0][:size]
            return parts.pop(0) if parts else b""

    tracemalloc.start()
    start = time.process_time()
    pcm = heard(read_stream(Stream()))
    seconds, (_, peak) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(pcm) == 24_000 and peak < 4e6 and seconds < 5


@pytest.mark.parametrize(
    "data, said",
    [
        (WAV[:9], "not a sound file that can be read"),
        (WAV[:30], "the WAV header ends before the sound begins"),
        (WAV[:36], "the WAV header ends before the sound begins"),
        (wav(chunk(b"data", SAMPLES)), "the WAV header does not tell the format"),
        (wav(chunk(b"fmt ", bytes(12))), "the WAV header is damaged: fmt is too short"),
        (wav(chunk(b"fmt ", bytes(40_000))), "the WAV header is damaged: fmt has 40000 bytes"),
        (wav(*[chunk(b"junk", b"")] * 1001, FMT), "the WAV header has over 1000 chunks"),
        (wav(b"junk\xf0\xff\xff\xff", FMT), "no sound in the first 1024 MiB"),
        (encoded(TONE[:10], 10), "a sample rate of 10 Hz (expected 1000 to 768000 Hz)"),
        (encoded(np.zeros((9, 65))), "65 channels (expected 1 to 64)"),
        (encoded(np.append(TONE, np.nan), subtype="FLOAT"), "NaN or infinity at 1.000 s"),
        (encoded(TONE[:0]), "no sound in it (0 samples)"),
    ],
)
def test_bad_headers(tmp_path, data, said):
    for message in everywhere(data, tmp_path):
        assert message.startswith("it: ") and said in message and "\n" not in message


# ---- raw samples


def test_raw_sound_of_which_nothing_is_told_is_told_of(caplog):
    """At another rate it would be heard as nonsense, and nobody would know why."""
    heard(read_stream(Pipe(SAMPLES), name="it"))
    (record,) = caplog.records
    assert record.getMessage().startswith("it: samples without a header, heard as s16le, 24000 Hz")
    caplog.clear()
    heard(read_stream(Pipe(SAMPLES), raw=RawFormat()))
    heard(read_stream(Pipe(WAV)))
    assert caplog.records == []


def test_raw_sound():
    np.testing.assert_allclose(heard(read_stream(Pipe(SAMPLES + b"\1"))), TONE, atol=2**-15)
    assert len(heard(read_stream(Pipe(b"\0\1")))) == 1


def test_raw_sound_at_another_rate():
    assert len(heard(read_stream(Pipe(SAMPLES), sample_rate=16_000))) == 16_000


@pytest.mark.parametrize(
    "encoding, data",
    [
        ("s16le", SAMPLES),
        ("s24le", IN_24_BITS),
        ("s32le", (TONE * 2147483000).astype("<i4").tobytes()),
        ("f32le", TONE.astype("<f4").tobytes()),
        ("f64le", TONE.astype("<f8").tobytes()),
    ],
)
def test_raw_encodings(tmp_path, encoding, data):
    raw = RawFormat(encoding)
    (tmp_path / "a.raw").write_bytes(data)
    for source in (tmp_path / "a.raw", data, Pipe(data)):
        sound = Sound(source, raw=raw)
        np.testing.assert_allclose(heard(sound), TONE, atol=2**-14)


def test_raw_rate_and_channels():
    stereo = np.stack([tone(1, 16_000), 0 * tone(1, 16_000)], 1).astype("<f4").tobytes()
    pcm = heard(read_stream(Pipe(stereo), raw=RawFormat("f32le", 16_000, 2)))
    np.testing.assert_array_equal(pcm, read(tone(1, 16_000) / 2, 16_000))


def test_a_known_header_is_believed_more_than_raw():
    for raw in (RawFormat(), RawFormat("u-law", 8000)):
        np.testing.assert_allclose(heard(read_stream(Pipe(WAV), raw=raw)), TONE, atol=2**-15)


def test_what_looks_like_text_may_be_asked_for_as_raw():
    """In u-law, half a wave of hum is all letters."""
    assert len(heard(read_stream(Pipe(b"hum " * 2000), raw=RawFormat("u-law", 8000)))) == 24_000


@pytest.mark.parametrize(
    "values, error, said",
    [
        (("mp3",), ValueError, "encoding is 'mp3' (expected one of s16le, "),
        ((None,), ValueError, "encoding is None"),
        (("u8", 10), ValueError, "sample_rate is 10 (expected 1000 to 768000 Hz)"),
        (("u8", "8000"), TypeError, "sample_rate is '8000' (expected a number, in Hz)"),
        (("u8", 8000, 0), ValueError, "channels is 0 (expected 1 to 64)"),
        (("u8", 8000, 1.0), TypeError, "channels is 1.0 (expected an integer)"),
    ],
)
def test_bad_raw_formats(values, error, said):
    with pytest.raises(error) as raised:
        RawFormat(*values)
    assert said in str(raised.value)


# ---- as it comes


@pytest.mark.parametrize("data", [SAMPLES, encoded(np.stack([TONE] * 3, 1), 44_100, "WAV")])
def test_any_split_gives_the_same_samples(data):
    whole = heard(read_stream(Pipe(data)))
    rng = np.random.default_rng(0)
    pcm = heard(read_stream(Pipe(data, lambda: int(rng.integers(1, 700)))))
    np.testing.assert_array_equal(pcm, whole)


def test_sound_is_given_as_it_arrives():
    out, into = os.pipe()
    with open(out, "rb") as reader, open(into, "wb", buffering=0) as writer:
        blocks = read_stream(reader)
        for _ in range(3):
            # nothing but these bytes is in the pipe: waiting for more would hang
            writer.write(to_s16le(TONE[:1920]))
            np.testing.assert_allclose(next(blocks), TONE[:1920], atol=1e-4)


def test_a_pipe_without_any_sound():
    for data in (b"", b"\1"):
        with pytest.raises(AudioError, match=r"^stdin: no sound in it \(0 samples\)$"):
            heard(read_stream(Pipe(data)))
