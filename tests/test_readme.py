"""The README's programs and commands work as they stand, from the root of a checkout."""

import re
import shlex
import sys

import pytest
from pages import ROOT, programs, run

from dsm_mlx.audio import read

README = (ROOT / "README.md").read_text()


@pytest.fixture
def place(tmp_path):
    """A folder with the demos, as the root has them, where sound may be written."""
    (tmp_path / "demos").symlink_to(ROOT / "demos")
    return tmp_path


def test_the_first_command_does_what_it_says():
    command = re.search(r"^    python (-m dsm_mlx\.stt demos/\S+)$", README, re.M)[1]
    said = re.search(r"prints \*(.+?)\*", README, re.S)[1]
    assert run([sys.executable, *shlex.split(command)]).split() == said.split()


def test_the_first_command_that_speaks_does(place):
    command = re.search(r"^    python (-m dsm_mlx\.tts .+ --out hello\.wav)$", README, re.M)[1]
    run([sys.executable, *shlex.split(command)], place)
    pcm = read(place / "hello.wav")
    assert 1 < pcm.size / 24_000 < 5 and abs(pcm).max() > 0.05
    # and what it says is what was asked for, as far as its listening half can tell
    said = re.search(r'dsm_mlx\.tts "(.+?)"', command)[1]
    heard = run([sys.executable, "-m", "dsm_mlx.stt", "hello.wav"], place)
    assert heard.split() == re.findall(r"\w+", said.lower())


def test_the_programs_run_one_after_another(place):
    out = run([sys.executable, "-c", "\n".join(programs(README))], place)
    assert "0.16 bus" in out and "the kitchen is clean" in " ".join(out.split())
    assert "dirty (end of turn at 4." in out and re.search(r"^bathroom \([01]\.\d\d\)$", out, re.M)
    assert "the road" in (place / "bus.srt").read_text()
    assert re.findall(r"^1920 (\S+)$", out, re.M)[:3] == ["The", "train", "leaves"]
    assert (place / "hello.wav").is_file()


@pytest.mark.parametrize(
    "demo", ["transcribe.py demos/audio/bus.wav", "codec.py demos/audio/bus.wav"]
)
def test_the_demos_run(demo, tmp_path):
    program, sound = demo.split()
    outputs = [str(tmp_path / "out.wav")] if program == "codec.py" else []
    assert run([sys.executable, f"demos/{program}", sound, *outputs])


def test_links_point_at_files_that_are_there():
    for name in re.findall(r"`([\w./]+\.(?:md|py))`", README):
        found = [ROOT / name, ROOT / "demos" / name]
        assert any(path.is_file() for path in found), name
