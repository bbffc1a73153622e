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
    "dsm_mlx", "dsm_mlx.results", "dsm_mlx.options", "dsm_mlx.errors",
    "dsm_mlx.stt.model", "dsm_mlx.stt.stream", "dsm_mlx.stt.recordings",
    "dsm_mlx.tts.model", "dsm_mlx.tts.stream",
    "dsm_mlx.chat", "dsm_mlx.chat.events", "dsm_mlx.chat.conversation",
    "dsm_mlx.chat.replies.echo", "dsm_mlx.chat.replies.server", "dsm_mlx.chat.replies.local",
]  # fmt: skip
STRICT = [
    "disallow_any_generics", "disallow_subclassing_any", "disallow_untyped_calls",
    "disallow_untyped_defs", "disallow_incomplete_defs", "disallow_untyped_decorators",
    "warn_return_any", "no_implicit_reexport",
]  # fmt: skip


def output(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300).stdout


def installed(name):
    return shutil.which(name, path=Path(sys.executable).parent) or shutil.which(name)


@pytest.mark.thorough
def test_mypy(request, tmp_path):
    """All by pyproject.toml, and the face and a user's program strictly, which complains of what is
    not needed, too. In one run, as reading everything is what takes the time."""
    pytest.importorskip("mypy", reason="mypy is not installed: pip install '.[test]'")
    settings = tmp_path / "pyproject.toml"
    settings.write_text((ROOT / "pyproject.toml").read_text() + strictly([*FACE, PROGRAM.stem]))
    mypy = [sys.executable, "-m", "mypy", f"--config-file={settings}"]
    cache = request.config.cache.mkdir("mypy")
    said = output(*mypy, f"--cache-dir={cache}", PROGRAM, ROOT / "dsm_mlx", cwd=ROOT)
    assert said.startswith("Success: no issues found in "), said
    assert int(said.split()[5]) > 250  # files


def strictly(modules):
    """What `--strict` is, but for what pyproject.toml has for all, for some modules."""
    flags = "".join(f"{flag} = true\n" for flag in STRICT)
    return f"\n[[tool.mypy.overrides]]\nmodule = {json.dumps(modules)}\n{flags}"


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
