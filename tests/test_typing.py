"""The public face as type checkers see it: whole by itself, and for a user's program."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = Path(__file__).with_name("typed_program.py")
FACE = [
    "__init__.py", "results.py", "options.py", "errors.py",
    "stt/model.py", "stt/stream.py", "stt/recordings.py", "tts/model.py", "tts/stream.py",
    "chat/__init__.py", "chat/events.py", "chat/conversation.py",
    "chat/replies/echo.py", "chat/replies/server.py", "chat/replies/local.py",
]  # fmt: skip


def output(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300).stdout


def installed(name):
    return shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)


def test_mypy_strict(request):
    """In one run, which is what takes the time. `--strict` complains of errors not needed, too."""
    pytest.importorskip("mypy", reason="mypy is not installed: pip install '.[test]'")
    cache = request.config.cache.mkdir("mypy")
    options = ["--strict", "--follow-imports=silent", "--ignore-missing-imports"]
    files = [ROOT / "dsm_mlx" / name for name in FACE]
    mypy = [sys.executable, "-m", "mypy", *options, f"--cache-dir={cache}"]
    said = output(*mypy, PROGRAM, *files, cwd=ROOT)
    assert said.startswith("Success: no issues found in 16 source files"), said


def test_pyright(tmp_path):
    """basedpyright is all in its wheels; pyright needs node, and fetches a part of it from npm."""
    pyright = installed("basedpyright") or (shutil.which("node") and installed("pyright"))
    if not pyright:
        pytest.skip("basedpyright (280 MB with its node) is not installed, nor pyright with node")
    settings = {
        "include": [Path(shutil.copy(PROGRAM, tmp_path)).name],
        "extraPaths": [str(ROOT)],
        "enableTypeIgnoreComments": True,
        "reportUnnecessaryTypeIgnoreComment": "error",
        "reportMissingModuleSource": "none",
        "typeCheckingMode": "standard",
    }
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps(settings))
    command = pyright, "--outputjson", "--pythonpath", sys.executable, "-p", project
    try:
        found = json.loads(output(*command, cwd=tmp_path))
    except ValueError:
        pytest.skip("pyright cannot run here: it could not fetch its part from npm")
    told = [(d["range"]["start"]["line"] + 1, d["message"]) for d in found["generalDiagnostics"]]
    assert told == [] and found["summary"]["filesAnalyzed"] == 1
