"""The site of the documentation: every page can be found, the picture has every room, and messages
are quoted as the program writes them."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from pages import ROOT
from test_architecture import FLOOR, PACKAGE

import dsm_mlx
from dsm_mlx import archive, audio, captions, chat

DOCS = ROOT / "docs"


def test_every_page_has_its_place_in_the_navigation():
    shown = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    there = {path.relative_to(DOCS).as_posix() for path in DOCS.glob("**/*.md")}
    assert there - shown == set(), "add them to nav in mkdocs.yml"


def test_the_picture_has_every_room():
    drawn = re.findall(r">([\w ]+)</text>", (DOCS / "architecture.svg").read_text(encoding="utf-8"))
    assert {room for room in FLOOR if not room.startswith("_")} <= set(drawn)


def source():
    """All of the package as one text, in which literals that go on in another line are joined."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    return re.sub(r'(["\'])\s*\n\s*f?\1', "", text)


def test_troubles_are_quoted_as_they_are_told():
    text, missing, count = source(), [], 0
    for line in (DOCS / "troubleshooting.md").read_text(encoding="utf-8").splitlines():
        symptom = line.split("|")[1] if line.startswith("| ") else ""
        quoted = [] if symptom.startswith(" MLX ") else re.findall(r"`([^`]+)`", symptom)
        for part in re.split(r"…|'[^']*'|<\w+>|\b\d[\de+]*", "…".join(quoted)):
            if len(part.strip()) > 9 and not part.startswith("dsm-"):
                count += 1
                missing += [part] if part.strip() not in text else []
    assert missing == [] and count > 10


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("mkdocs is not installed: pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("room", [dsm_mlx, audio, chat, archive, captions])
def test_the_reference_has_every_public_name(site, room):
    name = room.__name__
    page = (site / "reference" / name.removeprefix("dsm_mlx.") / "index.html").read_text("utf-8")
    missing = [each for each in room.__all__ if f'id="{name}.{each}"' not in page]
    assert missing == []


def test_pages_that_are_named_are_linked(site):
    start = (site / "index.html").read_text(encoding="utf-8")
    assert '<a href="archive/"' in start and '<a href="contributing/"' in start
    for page in site.glob("*/index.html"):
        assert "fonts.googleapis" not in page.read_text(encoding="utf-8")  # nobody else is asked
