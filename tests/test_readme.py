"""The README's programs and commands work as they stand, from the root of a checkout."""

import re
import shlex
import sys

import pytest
from pages import ROOT, programs, run

from dsm_mlx.audio import read

README = (ROOT / "README.md").read_text()
FIRST, SECOND = re.findall(r"^    (python3 -m venv .+)$", README, re.M)


@pytest.fixture
def place(tmp_path):
    """A folder with the demos, as the root has them, where sound may be written."""
    (tmp_path / "demos").symlink_to(ROOT / "demos")
    return tmp_path


def test_the_first_line_hears_and_speaks(place):
    """What it does after it has installed; with uv it is the same."""
    *_, hear, speak = FIRST.split(" && ")
    said = re.search(r"prints \*(.+?)\*", README, re.S)[1]
    assert run(command(hear), place).split() == said.split()
    run(command(speak), place)
    pcm = read(place / "hello.wav")
    assert 1 < pcm.size / 24_000 < 5 and abs(pcm).max() > 0.05
    # and what it says is what was asked for, as far as its listening half can tell
    heard = run(command(".venv/bin/dsm-stt hello.wav"), place)
    assert heard.split() == re.findall(r"\w+", shlex.split(speak)[1].lower())
    assert f"{hear} && {speak}".replace(".venv/bin/", "uvx --from . ") in README


def command(typed):
    program, *args = shlex.split(typed)
    module = program.replace(".venv/bin/dsm-", "dsm_mlx.")
    return [sys.executable, "-m", module, *args]


def test_what_passes_the_tests_is_what_ci_calls():
    lines = (ROOT / ".ci/run").read_text().splitlines()
    assert lines[-1] == SECOND and "python -m pytest -n 2" in SECOND


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
