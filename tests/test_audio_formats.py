"""What comes by a pipe or in memory: every format is told and decoded, what is no sound refused."""

import io
import json
import os
import subprocess
import sys
import tarfile
import threading
import zipfile

import numpy as np
import pytest
from sounds import (
    Pipe,
    encoded,
    ffmpeg,
    heard,
    needs_ffmpeg,
    pitch_and_level,
    tone,
    warnings,
)

from dsm_mlx.audio import RawFormat, Sound, read_stream, sources, to_s16le
from dsm_mlx.audio.formats import guessed, is_text, told
from dsm_mlx.audio.mpeg import count_samples
from dsm_mlx.audio.reader import Reader
from dsm_mlx.errors import AudioError

TONE = tone(2)
FRAGMENTS = ["-movflags", "frag_keyframe+empty_moov", "-f", "mp4"]
BY_FFMPEG = {
    "mp3": ["-f", "mp3"],
    "mp3 without ID3": ["-id3v2_version", 0, "-write_xing", 0, "-f", "mp3"],
    "mp4 in fragments": FRAGMENTS,
    "aac": ["-f", "adts"],
    "webm": ["-f", "webm"],
    "mkv": ["-f", "matroska"],
    "mpegts": ["-f", "mpegts"],
    "asf": ["-f", "asf"],
    "avi": ["-f", "avi"],
    "flv": ["-ar", 44_100, "-f", "flv"],
    "flac": ["-f", "flac"],
    "opus": ["-f", "opus"],
    "au": ["-f", "au"],
}
BY_LIBSNDFILE = ["FLAC", "OGG", "AIFF", "CAF", "AU", "W64", "MP3"]
TO_SEEK = {"a.m4a": [], "a.mov": [], "faststart.m4a": ["-movflags", "faststart"]}


def check_tone(pcm, seconds=2.0, level=0.5):
    assert abs(len(pcm) / 24_000 - seconds) < 0.15
    hertz, found = pitch_and_level(pcm)
    assert abs(hertz - 440) < 2 and abs(found - level) < 0.1 * level


@pytest.mark.thorough
@needs_ffmpeg
@pytest.mark.parametrize("name", BY_FFMPEG)
def test_formats_through_a_pipe(name, caplog):
    data = ffmpeg("-i", "-", *BY_FFMPEG[name], "-", pcm=TONE)
    for source in (Pipe(data), io.BytesIO(data), data):
        check_tone(heard(Sound(source)))
    check_tone(heard(read_stream(Pipe(data))))
    assert not warnings(caplog)


@needs_ffmpeg
@pytest.mark.parametrize("name", TO_SEEK)
def test_formats_whose_index_may_be_at_the_end(tmp_path, monkeypatch, name):
    path = tmp_path / name
    ffmpeg("-i", "-", *TO_SEEK[name], path, pcm=TONE)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    for source in (Pipe(path.read_bytes()), path.read_bytes()):
        check_tone(heard(Sound(source)))
    assert not os.listdir(tmp_path / "tmp")


@pytest.mark.parametrize("decoders", ["of the system", "libsndfile alone"])
@pytest.mark.parametrize("format", BY_LIBSNDFILE)
def test_formats_of_libsndfile(monkeypatch, format, decoders):
    if decoders == "libsndfile alone":
        monkeypatch.setattr(sources, "_decoders", list)
        monkeypatch.setattr(sources, "_streaming_decoders", list)
    data = encoded(TONE, format=format)
    for source in (Pipe(data), io.BytesIO(data), data):
        check_tone(heard(Sound(source)))


@pytest.mark.parametrize("name", ["mp3", "mp4 in fragments", "webm", "mpegts"])
@needs_ffmpeg
def test_pyav_decodes_what_comes(monkeypatch, name):
    pytest.importorskip("av", reason="PyAV is optional and not installed")
    monkeypatch.setattr(sources, "has_ffmpeg", lambda: False)
    check_tone(heard(Sound(Pipe(ffmpeg("-i", "-", *BY_FFMPEG[name], "-", pcm=TONE)))))


@needs_ffmpeg
def test_sound_comes_out_while_it_goes_in():
    """Of an endless stream of mp3, as a radio sends it, nothing waits for the end."""
    data = ffmpeg("-i", "-", "-f", "mp3", "-b:a", "64k", "-", pcm=tone(20))
    out, into = os.pipe()
    with open(out, "rb") as reader, open(into, "wb", buffering=0) as writer:
        thread = threading.Thread(target=writer.write, args=(data[: len(data) // 2],))
        thread.start()
        with Sound(reader) as sound:
            blocks = iter(sound)
            have = 0
            while have < 24_000 * 8:
                have += len(next(blocks))
            process = sound._source._process
            thread.join()
    assert process.returncode is not None


@needs_ffmpeg
def test_leaving_a_pipe_that_stays_open_does_not_hang_nor_abort():
    """A thread that waits for stdin while Python exits would abort it."""
    code = """
import sys
from dsm_mlx.audio import read_stream
for block in read_stream(sys.stdin.buffer):
    print(len(block) > 0, flush=True)
    break
"""
    data = ffmpeg("-i", "-", "-f", "mp3", "-", pcm=tone(8))
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        process.stdin.write(data)
        process.stdin.flush()  # and it stays open
        assert process.wait(30) == 0
        assert (process.stdout.read(), process.stderr.read()) == (b"True\n", b"")


@needs_ffmpeg
@pytest.mark.parametrize("form", ["mp3", "adts"])
def test_a_stream_joined_in_the_middle(form):
    data = ffmpeg("-i", "-", "-f", form, "-b:a", "64k", "-", pcm=tone(5))
    pcm = heard(read_stream(Pipe(data[1001:])))
    assert 4.5 < len(pcm) / 24_000 < 5.2
    assert abs(pitch_and_level(pcm)[0] - 440) < 2


# ---- what is no sound


def zipped():
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as file:
        file.writestr("a.txt", "hello")
    return data.getvalue()


def tarred():
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as file:
        file.addfile(tarfile.TarInfo("a.txt"), io.BytesIO())
    return data.getvalue()


def program():
    with open(sys.executable, "rb") as file:
        return file.read(100_000)


NO_SOUND = {
    "plain text": b"Dear diary, today I heard nothing.\n" * 50,
    "a word": b"hello",
    "JSON": json.dumps({"text": "hello", "words": [1, 2, 3]}).encode(),
    "HTML": b"<!DOCTYPE html>\n<html><body>404 Not Found</body></html>\n",
    "text of another script": "Привет, как дела? 你好。\n".encode() * 200,
    "text in Latin 1": "Grüße aus der schönen Stadt Köln, und bis bald!\n".encode("latin-1") * 9,
    "text in UTF-16": ("Hello there, and good morning.\r\n" * 3).encode("utf-16"),
    "text with colours": b"\x1b[31merror:\x1b[0m no such file\n",
    "a playlist": b"#EXTM3U\n#EXT-X-VERSION:3\nhttp://127.0.0.1:9/a.ts\n",
    "PDF": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n" + bytes(range(256)) * 20,
    "zip": zipped(),
    "tar": tarred(),
    "a program": program(),
    "PNG": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(3000),
    "JPEG": b"\xff\xd8\xff\xe0\0\x10JFIF\0" + bytes(range(256)) * 20,
    "gzip": b"\x1f\x8b\x08\x00\0\0\0\0\x00\x03" + bytes(range(256)) * 20,
    "numpy": b"\x93NUMPY\x01\x00v\0{'descr': '<f4'" + bytes(4000),
    "MIDI": b"MThd\0\0\0\x06\0\x01\0\x02\0\x60MTrk" + bytes(500),
}


@pytest.mark.parametrize("name", NO_SOUND)
def test_what_is_no_sound_is_refused(tmp_path, name):
    data = NO_SOUND[name]
    (tmp_path / "a.wav").write_bytes(data)
    for open_it in (
        lambda: read_stream(Pipe(data), name="it"),
        lambda: Sound(Pipe(data), name="it"),
        lambda: Sound(data, name="it"),
        lambda: Sound(tmp_path / "a.wav", name="it"),
    ):
        with pytest.raises(AudioError) as raised:
            heard(open_it())
        message = str(raised.value)
        assert message.startswith("it: not a sound file that can be read: it is ")
        assert "\n" not in message


def test_no_program_sees_a_playlist(tmp_path, monkeypatch):
    """ffmpeg would open what it names."""
    monkeypatch.setattr(subprocess, "Popen", None)
    (tmp_path / "a.m3u8").write_bytes(NO_SOUND["a playlist"])
    with pytest.raises(AudioError, match="it is plain text"):
        Sound(tmp_path / "a.m3u8")


@needs_ffmpeg
@pytest.mark.parametrize("form", ["ac3", "eac3"])
@pytest.mark.parametrize("rate, bitrate", [(48_000, "640k"), (44_100, "192k"), (32_000, "96k")])
def test_bare_ac3_through_a_pipe(form, rate, bitrate):
    """It has no signature; by a pipe it was heard as samples without a header."""
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", f"sine=440:r={rate}:d=1"]
    data = subprocess.run(
        [*command, "-b:a", bitrate, "-f", form, "-"], capture_output=True, check=True
    ).stdout
    raw = RawFormat("s16le", 24_000)
    found = heard(Sound(Pipe(data), assumed=raw))
    assert abs(found.size - 24_000) < 2500 and 0.05 < np.abs(found).max() < 1


def test_what_is_not_known_is_raw_only_by_a_pipe_or_if_asked():
    noise = to_s16le(0.1 * np.random.default_rng(0).standard_normal(24_000))
    assert len(heard(read_stream(Pipe(noise)))) == 24_000
    assert len(heard(Sound(Pipe(noise), raw=RawFormat()))) == 24_000
    with pytest.raises(AudioError, match=r"no sound of a known format .*raw=RawFormat"):
        Sound(Pipe(noise))
    with pytest.raises(AudioError, match="not a sound file that can be read"):
        Sound(noise)


def test_without_a_decoder_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sources, "_decoders", list)
    monkeypatch.setattr(sources, "_streaming_decoders", list)
    webm = b"\x1a\x45\xdf\xa3" + bytes(5000)
    for source in (Pipe(webm), webm):
        with pytest.raises(
            AudioError, match=r"Matroska \(mkv, webm\) needs ffmpeg .* or PyAV \(pip"
        ):
            Sound(source)


def test_raw_sound_looks_like_nothing_else():
    """Whatever it holds: silence, constants, tones of all sorts, noise, quiet or loud."""
    rng = np.random.default_rng(1)
    time = np.arange(4000)
    for case in range(300):
        level = 10 ** rng.uniform(-4.5, 0)
        pcm = level * np.sin(time * rng.uniform(0.001, 3) + rng.uniform(0, 6))
        if case % 3 == 0:
            pcm = np.sign(pcm) * level
        if case % 5 == 0:
            pcm = level * rng.standard_normal(4000)
        if case % 7 == 0:
            pcm = np.full(4000, level)
        reader = Reader(Pipe(to_s16le(np.clip(pcm, -1, 1))), "it")
        assert told(reader) is None and guessed(reader) is None, case
    assert not is_text(bytes(4000))


def test_text_is_told_wherever_it_is_cut():
    for text in ("plain", "Grüße", "你好"):
        data = (text * 700).encode()
        assert all(is_text(data[:size]) for size in range(1, 60))


# ---- counting frames


@needs_ffmpeg
@pytest.mark.parametrize("bitrate", ["-b:a 64k", "-q:a 5"])
@pytest.mark.parametrize("rate", [16_000, 24_000, 44_100])
def test_frames_of_mp3_are_counted(tmp_path, rate, bitrate):
    """With tags before, between and behind, and with the header that tells the length."""
    args = ["-i", "-", "-ar", rate, *bitrate.split(), "-f", "mp3"]
    plain = ffmpeg(*args, "-write_xing", 0, "-id3v2_version", 0, "-", pcm=tone(5))
    ffmpeg(*args, "-metadata", "title=one", tmp_path / "a.mp3", pcm=tone(5))
    tagged = (tmp_path / "a.mp3").read_bytes()
    assert tagged.startswith(b"ID3")
    samples, promised = count_samples(io.BytesIO(plain))
    assert abs(samples / rate - 5) < 0.2 and promised is None
    samples, promised = count_samples(io.BytesIO(tagged + b"TAG" + b"x" * 125 + tagged))
    assert abs(samples / rate - 10) < 0.3 and abs(promised / rate - 5) < 0.2
