"""The arrows of the house: a room imports only from floors below its own, and in no circle."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "dsm_mlx"
GROUND = [
    "errors",
    "messages",
    "options",
    "results",
    "captions",
    "checks",
    "files",
    "audio",
    "runtime",
]
FLOORS = [GROUND, ["transformer"], ["codec", "lm"], ["loading"], ["stt", "tts", "convert", "llm"]]
FACES = ["cli", "serve", "chat", "archive", "__init__"]
FLOOR = {room: i for i, rooms in enumerate([*FLOORS, FACES]) for room in rooms}
# By import inside a function only: the stubs of `python -m`, and `save` of results.
EXCEPTIONS = {
    ("stt.__main__", "cli"),
    ("tts.__main__", "cli"),
    ("convert.__main__", "cli"),
    ("serve.__main__", "cli"),
    ("chat.__main__", "cli"),
    ("results", "captions"),
    ("results", "audio"),
}
# A session's side on the host: strings and small numbers.
HOST_SIDE = [
    *("stt.session", "stt.words", "stt.pauses", "stt.steering", "stt.boost"),
    *("tts.session", "tts.script", "tts.machine"),
    *(f"tts.text.{path.stem}" for path in (PACKAGE / "tts/text").glob("*.py")),
]
LIGHT = ["mlx", "numpy", "soundfile", "sounddevice", "sentencepiece", "huggingface_hub", "tqdm"]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree, top=True):
    """(room, whether only inside a function) of every import of ours; not those for types alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dsm_mlx"):
            _, _, rest = node.module.partition(".")
            for room in [rest.split(".")[0]] if rest else [alias.name for alias in node.names]:
                yield room, not top
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("dsm_mlx."):
                    yield alias.name.split(".")[1], not top
        inside = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        inside |= isinstance(node, ast.If) and "__name__" in ast.unparse(node.test)
        yield from imports(node, top and not inside)


def arrows():
    for name, tree in modules():
        room = name.split(".")[0]
        for target, late in imports(tree):
            if target in FLOOR and target != room:
                yield name, room, target, late


def test_every_module_has_a_floor():
    rooms = {name.split(".")[0] for name, _ in modules()}
    assert rooms <= set(FLOOR), rooms - set(FLOOR)


def test_no_arrow_runs_up():
    wrong = [
        f"{name} imports {target}"
        for name, room, target, late in arrows()
        if FLOOR[target] > FLOOR[room] and not (late and (name, target) in EXCEPTIONS)
    ]
    assert wrong == []


def test_the_wings_do_not_know_each_other():
    wings = {"stt", "tts", "convert", "llm"}
    assert [(name, target) for name, room, target, _ in arrows() if {room, target} <= wings] == []


def test_rooms_stand_in_no_circle():
    known: dict[str, set[str]] = {}
    for name, room, target, late in arrows():
        if not (late and (name, target) in EXCEPTIONS):
            known.setdefault(room, set()).add(target)
    seen: dict[str, bool] = {}

    def visit(room, path):
        assert room not in path, " -> ".join([*path, room])
        if room not in seen:
            for target in known.get(room, ()):
                visit(target, [*path, room])
            seen[room] = True

    for room in known:
        visit(room, [])


def test_the_runtime_knows_no_model_and_a_session_no_arrays():
    for name, tree in modules():
        found = {
            node.module if isinstance(node, ast.ImportFrom) else alias.name
            for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom))
            for alias in node.names
        }
        if name in HOST_SIDE:
            assert not any((module or "").startswith("mlx") for module in found), name
        if name.split(".")[0] in ("cli", "chat", "archive"):
            assert not any((module or "").startswith("mlx") for module in found), name


def test_importing_the_package_imports_nothing_heavy():
    code = f"import dsm_mlx, sys; print([m for m in {LIGHT} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
