"""What README.md and docs/ show: their programs, and the lines that are typed in a shell."""

import ast
import os
import re
import shlex
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SHELL = ("sh", "bash", "shell", "console")
NOT_RUN = re.compile(r"# Not run by our tests: \w.{10,}\.\n")
"""The first line of a program that is only looked at, which says why."""
ELSEWHERE = {
    "openai": "DSM_MLX_OPENAI_PYTHON",
    "lasuite": "DSM_MLX_LIVEKIT_PYTHON",
    "livekit": "DSM_MLX_LIVEKIT_PYTHON",
}
"""Packages whose pins are not ours, and what names a Python that has them."""

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```\s*$", re.M | re.S)
_VERSION_TOLD = re.compile(r"dsm-\w+ \d+\.\d+\.\d+")  # a line that a command writes


def run(command, cwd=ROOT, **options):
    """What a command writes to stdout; it must succeed."""
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---- programs


def programs(text):
    """The Python programs of a page, as they stand."""
    return [code for _, language, code in _FENCE.findall(text) if language == "python"]


def needed(program):
    """The packages that a program imports, none of them ours."""
    modules = set()
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    return {module.partition(".")[0] for module in modules} - {"dsm_mlx"}


def runs_here(program):
    """Whether this Python has all that it needs."""
    packages = needed(program)
    return not packages & set(ELSEWHERE) and all(map(find_spec, packages))


def other_python(program):
    """That of another environment which runs a program; skips where none is named."""
    for package, variable in ELSEWHERE.items():
        if package in needed(program) and (found := os.environ.get(variable)):
            return found
    pytest.skip(f"needs {', '.join(sorted(needed(program)))}")


# ---- the shell


def commands():
    """The parser of each command that the package installs, by its name."""
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return {
        name: _parser(import_module(module))
        for name, module in re.findall(r'^(dsm-\w+) = "([\w.]+):main"$', lines, re.M)
    }


def _parser(module):
    """A command's main hands the work to `start`, by the names of the modules that do it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "start", lambda work, argv, arguments=None: arguments or work)
        return import_module(module.main()).parser()


def typed(text, names):
    """[command, *arguments] for every use of one of `names` in what a page has to be typed.

    That is what is indented by four, or fenced as a shell's. Options that are spelt out as
    `[flags]` stand for any.
    """
    fenced = [code for _, language, code in _FENCE.findall(text) if language in SHELL]
    indented = re.findall(r"^ {4}.*$", _FENCE.sub("", text), re.M)
    joined = "\n".join([*fenced, *indented]).replace("\\\n", " ")
    return [use for line in joined.splitlines() for use in _uses(line.strip(), names)]


def _uses(line, names):
    line = re.sub(r"\bpython3? -m dsm_mlx\.(\w+)", r"dsm-\1", line.replace(".venv/bin/", ""))
    if not any(name in line for name in names) or _VERSION_TOLD.fullmatch(line):
        return
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    part: list[str] = []
    for token in [*lexer, ";"]:
        if _only(token, "|&;"):
            start = next((i for i, word in enumerate(part) if word in names), None)
            if start is not None:
                yield _without_redirection(part[start:])
            part = []
        elif token != "[flags]":
            part.append(token)


def _without_redirection(part):
    return [
        word
        for i, word in enumerate(part)
        if not _only(word, "<>") and not (i and _only(part[i - 1], "<>"))
    ]


def _only(token, signs):
    return bool(token) and set(token) <= set(signs)
