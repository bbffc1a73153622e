"""Every program of docs/ runs, every command is one that its parser takes, and every file that a
page names is there."""

import os
import re
import shlex
import shutil
import sys

import page_files
import pytest
from pages import NOT_RUN, PAGES, ROOT, commands, other_python, programs, run, runs_here, typed
from serving import Served

NAMED = re.compile(r"`((?:docs|tools|tests|demos|dsm_mlx)/[\w./]+\.\w+)`")
LINKED = re.compile(r"\]\((?!https?:|#)([^)#]+)")
SERVER = re.compile(r"(?<=//)(localhost|127\.0\.0\.1):8080\b")
BUS = "the bus was late because the road was full of snow"
PRINTED = {  # what at least some pages' programs are known to write
    "captions.md": [BUS.split()[1], "Ann the", "Bob the"],
    "conversation.md": [BUS, f"You said: {BUS}.", "The train leaves at nine."],
    "server.md": ["0.16 bus"],
}


def shown(path):
    """The programs of a page, without those that say that they are not run."""
    found = programs(path.read_text(encoding="utf-8"))
    return [program for program in found if not NOT_RUN.match(program)]


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


SHOWN = [(path, program) for path in PAGES if path.parent != ROOT for program in shown(path)]
OTHERS = [each for each in SHOWN if not runs_here(each[1])]
GUIDES = sorted({path for path, program in SHOWN if runs_here(program)})


@pytest.fixture
def place(tmp_path):
    (tmp_path / "demos").symlink_to(ROOT / "demos")
    page_files.furnish(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def server():
    with Served("-m", "dsm_mlx.serve", "--stt", "tiny", "--tts", "tiny", "--port", "0") as served:
        yield served


@pytest.fixture
def carried_out(place, request):
    """`carried_out(python, code)`: what a program writes, with `tiny` in the place of models that
    are not bundled, and a server of the tests' in that of the one at 8080."""

    def written(python, code):
        code = re.sub(r'"[st]t[ts]-[\d.]+b"', '"tiny"', code)
        if SERVER.search(code):
            port = request.getfixturevalue("server").port
            code = SERVER.sub(rf"\1:{port}", code)
        own = {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), str(ROOT)])}
        hub = {"HF_HUB_CACHE": str(place / "hub"), "HF_HUB_OFFLINE": "1"}
        return run([python, "-c", code], place, env=os.environ | own | hub)

    return written


@pytest.mark.thorough
@pytest.mark.parametrize("path", GUIDES, ids=names(GUIDES))
def test_the_programs_of_a_page_run_one_after_another(path, carried_out):
    code = "\n".join(["from page_world import *", *filter(runs_here, shown(path))])
    if "film.mkv" in code and not shutil.which("ffmpeg"):
        pytest.skip("ffmpeg is not installed")
    lines = " ".join(carried_out(sys.executable, code).split())
    for expected in PRINTED.get(path.name, ()):
        assert expected in lines


@pytest.mark.parametrize(("path", "program"), OTHERS, ids=names(page for page, _ in OTHERS))
def test_programs_of_other_environments_run(path, program, carried_out):
    carried_out(other_python(program), program)


@pytest.mark.parametrize("path", PAGES, ids=names(PAGES))
def test_what_is_typed_is_what_the_commands_take(path, capsys):
    known = commands()
    for use in typed(path.read_text(encoding="utf-8"), known):
        status = taken(known[use[0]], use[1:])
        assert status == 0, f"{shlex.join(use)}: {capsys.readouterr().err}"


def taken(parser, arguments):
    """The exit status of a parser; 0, too, if it does not end the program."""
    try:
        parser.parse_args(arguments)
    except SystemExit as end:
        return end.code
    return 0


def test_a_renamed_option_is_noticed(capsys):
    known = commands()
    page = "Words:\n\n    some-llm | dsm-tts --model tiny - > a.wav  # soon\n    dsm-stt --mike\n"
    spoken, heard = typed(page, known)
    assert spoken == ["dsm-tts", "--model", "tiny", "-"]
    assert known["dsm-tts"].parse_args(spoken[1:]).model == "tiny"
    assert taken(known["dsm-stt"], heard[1:]) == 2
    assert "--mike" in capsys.readouterr().err


def test_the_pages_have_commands_of_every_kind():
    known = commands()
    assert {use[0] for path in PAGES for use in typed(path.read_text("utf-8"), known)} == set(known)


@pytest.mark.parametrize("path", PAGES, ids=names(PAGES))
def test_files_that_a_page_names_are_there(path):
    text = path.read_text(encoding="utf-8")
    missing = [name for name in NAMED.findall(text) if not (ROOT / name).exists()]
    missing += [name for name in LINKED.findall(text) if not (path.parent / name).exists()]
    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=names(PAGES))
def test_programs_are_marked_as_such(path):
    """One that is only indented would not be run."""
    text = path.read_text(encoding="utf-8")
    outside = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    assert not re.search(r"^ {4}(from|import) \w", outside, re.M)
