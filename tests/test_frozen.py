"""A program of ours as an app that PyInstaller makes, which needs nothing of this environment."""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dsm_mlx
from dsm_mlx._pyinstaller import get_hook_dirs

ROOT = Path(__file__).parents[1]
BUS = ROOT / "demos/audio/bus.wav"
SAID = BUS.with_suffix(".txt").read_text()
# What an app gets from the system, and no environment of Python's.
BARE = {"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}


def test_pyinstaller_finds_the_hooks():
    (folder,) = map(Path, get_hook_dirs())
    assert {"hook-dsm_mlx.py", "hook-dsm_mlx.cli.py"} <= {path.name for path in folder.iterdir()}
    section = (ROOT / "pyproject.toml").read_text().partition("entry-points.pyinstaller40]\n")[2]
    named = re.match(r'hook-dirs = "(.+)"\n', section)[1]
    assert importlib.metadata.EntryPoint("", named, "").load() is get_hook_dirs


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """An app of tests/programs/frozen.py: its program."""
    pytest.importorskip("PyInstaller", reason="pip install pyinstaller")
    folder = tmp_path_factory.mktemp("app")
    command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"]
    # an editable install is a hook of import's, through which PyInstaller does not see
    command += ["--paths", ROOT, "--specpath", folder, "--workpath", folder / "work"]
    command += ["--distpath", folder, ROOT / "tests/programs/frozen.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    return folder / "frozen/frozen"


def ran(app, *arguments):
    done = subprocess.run(
        [app, *arguments], capture_output=True, text=True, timeout=100, env=BARE, cwd=app.parent
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_app_hears_and_speaks(app):
    assert ran(app, BUS) == f"{SAID}spoken\n"


@pytest.mark.slow
def test_an_app_may_be_a_command(app):
    assert ran(app, "stt", BUS, "--model", "tiny") == SAID


@pytest.mark.slow
def test_an_app_tells_of_its_machine(app):
    found = json.loads(ran(app, "about", "--json"))
    assert found["dsm_mlx"]["version"] == dsm_mlx.__version__
    assert [model["name"] for model in found["models"]["here"][:2]] == ["tiny", "tiny"]
    assert "this is an app" in found["extras"]["error"]
    wrong = [name for name, room in found.items() if "error" in room]
    assert set(wrong) <= {"extras", "sound"}  # of sound devices there may be no library
