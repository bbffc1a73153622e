"""Transcripts on disk: complete or not there, whatever the name, the text and the target."""

import os
import sys

import pytest

from dsm_mlx import captions
from dsm_mlx.captions import to_vtt, write
from dsm_mlx.files.text import save
from dsm_mlx.results import Transcript, Word

TRANSCRIPT = Transcript(
    "Ça va .", [Word("Ça", 0.1234567, 0.5), Word("va .", 0.5, 0.75)], duration=1.5
)


def test_write_takes_the_format_from_the_name(tmp_path):
    assert write(TRANSCRIPT, tmp_path / "talk.vtt") == [tmp_path / "talk.vtt"]
    assert (tmp_path / "talk.vtt").read_text("utf-8") == to_vtt(TRANSCRIPT.words)


def test_write_all(tmp_path):
    paths = write(TRANSCRIPT, tmp_path / "talk.v2", "all")
    names = ["talk.v2.txt", "talk.v2.srt", "talk.v2.vtt", "talk.v2.json"]
    assert [path.name for path in paths] == names
    assert sorted(os.listdir(tmp_path)) == sorted(names)
    assert (tmp_path / "talk.v2.txt").read_text("utf-8") == "Ça va .\n"


def test_unknown_format(tmp_path):
    with pytest.raises(ValueError, match=r"talk\.doc.*'doc'.*expected txt, srt, vtt, json or all"):
        write(TRANSCRIPT, tmp_path / "talk.doc")


def test_a_format_that_is_not_known():
    with pytest.raises(ValueError, match=r"format is 'doc' .expected one of txt, srt, vtt, json"):
        captions.render(TRANSCRIPT, "doc")


@pytest.mark.parametrize(
    "interruption", [OSError(28, "No space left on device"), KeyboardInterrupt]
)
@pytest.mark.parametrize("where", ["pathlib.Path.replace", "pathlib.Path.open"])
def test_a_file_is_complete_or_not_there(tmp_path, monkeypatch, where, interruption):
    target = tmp_path / "talk.txt"
    target.write_text("old")

    def full(*_):
        raise interruption

    with monkeypatch.context() as patched:
        patched.setattr(where, full)
        if interruption is KeyboardInterrupt:
            with pytest.raises(KeyboardInterrupt):
                write(TRANSCRIPT, target)
        else:
            with pytest.raises(OSError, match=r"No space left on device: .*talk\.txt"):
                write(TRANSCRIPT, target)
    assert os.listdir(tmp_path) == ["talk.txt"]
    assert target.read_text() == "old"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_disk_that_is_full_is_named(tmp_path, monkeypatch):
    """/dev/full is opened here, not by its name, under which a mistake would replace it."""
    monkeypatch.setattr("pathlib.Path.open", lambda *_: open("/dev/full", "wb"))  # noqa: SIM115
    with pytest.raises(OSError, match=r"No space left on device: '.*talk\.json'"):
        write(TRANSCRIPT, tmp_path / "talk.json")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with names")
def test_what_is_no_ordinary_file_is_not_replaced(tmp_path):
    """/dev/null, say, by root."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(TRANSCRIPT, pipe, "txt")
    assert os.read(reader, 100).decode() == "Ça va .\n"
    os.close(reader)
    assert os.listdir(tmp_path) == ["pipe"] and not pipe.is_file()


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "there").mkdir()
    link = tmp_path / "link.txt"
    link.symlink_to(tmp_path / "there" / "talk.txt")
    for _ in range(2):
        write(TRANSCRIPT, link)
        assert link.is_symlink() and os.listdir(tmp_path / "there") == ["talk.txt"]


def test_the_longest_names_work(tmp_path):
    name = "é" * 125 + "a.txt"
    assert len(name.encode()) == 255
    write(TRANSCRIPT, tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    with pytest.raises(OSError, match=f"b{name}"):
        write(TRANSCRIPT, tmp_path / f"b{name}")
    assert os.listdir(tmp_path) == [name]


@pytest.mark.skipif(sys.platform != "linux", reason="names are UTF-8 elsewhere")
def test_names_that_are_not_utf8_work(tmp_path):
    write(TRANSCRIPT, os.fsencode(tmp_path) + b"/caf\xe9.srt")
    assert os.listdir(os.fsencode(tmp_path)) == [b"caf\xe9.srt"]


def test_text_that_utf8_cannot_encode_is_escaped(tmp_path):
    save(tmp_path / "a.json", '"caf\udce9 \u00e9"')
    assert (tmp_path / "a.json").read_text("utf-8") == r'"caf\udce9 é"'
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (None, TypeError),
        (3, TypeError),
        ("", ValueError),
        ("a\0b", ValueError),
        ("\ud800.txt", ValueError),
    ],
)
def test_what_is_no_path_is_named(path, error):
    with pytest.raises(error, match=r"path is .*expected"):
        write(TRANSCRIPT, path, "txt")


def test_a_long_name_without_a_format_is_cut():
    with pytest.raises(ValueError, match="caption format ''") as error:
        write(TRANSCRIPT, "x" * 5000)
    assert len(str(error.value)) < 400


def test_no_such_folder(tmp_path):
    with pytest.raises(OSError, match=r"No such file or directory: .*missing/talk\.txt"):
        write(TRANSCRIPT, tmp_path / "missing" / "talk.txt")
    with pytest.raises(OSError, match=f"directory: '{tmp_path}'"):
        write(TRANSCRIPT, tmp_path, "txt")
