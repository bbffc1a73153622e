"""What is built and published: one version, a wheel with its data, an sdist with its tests."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import metadata, version
from importlib.util import find_spec

import extras
import pytest
from pages import ROOT, run

import dsm_mlx

yaml = pytest.importorskip("yaml")
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def in_package(*patterns):
    found = {path for pattern in patterns for path in (ROOT / "dsm_mlx").glob(pattern)}
    return {path.relative_to(ROOT).as_posix() for path in found if path.is_file()}


def test_the_version_stands_in_one_place():
    assert version("dsm-mlx") == dsm_mlx.__version__
    assert '\nversion = "' not in PYPROJECT


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_are_read_and_name_what_is_there(path):
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    typed = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    named = re.findall(r"(?:tools|tests|\.ci)/[\w./]+", "\n".join(typed))
    assert all((ROOT / name).exists() for name in named)
    extras = {extra for each in typed for extra in re.findall(r"\.\[(\w+)\]", each)}
    for extra in extras:
        assert re.search(rf"^{extra} = \[", PYPROJECT, re.M)


def test_every_extra_for_users_has_its_weight_in_the_readme(capsys):
    known = set(metadata("dsm-mlx").get_all("Provides-Extra")) - extras.DEVELOPERS
    table = re.findall(r"^\| `(\w+)` \| .+ \| (?:\d+|not measured) \|$", README, re.M)
    assert set(table) == known and len(table) == len(known)
    with pytest.raises(SystemExit, match="2"):
        extras.main(["nonsense"])
    assert "nonsense: expected chat, client" in capsys.readouterr().err


def test_every_python_from_the_lowest_is_tried():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text("utf-8"))["jobs"]
    lowest = re.search(r'requires-python = ">=([\d.]+)"', PYPROJECT)[1]
    for name in ("linux", "mac"):
        tried = jobs[name]["strategy"]["matrix"]["python"]
        minors = [int(each.split(".")[1]) for each in tried]
        assert tried[0] == lowest and minors == list(range(minors[0], 15))


def test_the_forms_of_issues_are_read():
    for path in sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml")):
        form = yaml.safe_load(path.read_text(encoding="utf-8"))
        asked = [field for field in form.get("body", ()) if field["type"] != "markdown"]
        names = [field["id"] for field in asked]
        assert path.name == "config.yml" or (form["name"] and form["description"] and names)
        assert len(set(names)) == len(names)
        assert all(field["attributes"]["label"] for field in asked)


# ---- what is built: python -m pytest -m slow tests/test_packaging.py


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    if find_spec("build") is None:
        pytest.skip("build is not installed: pip install build")
    out = tmp_path_factory.mktemp("dist")
    sources = tmp_path_factory.mktemp("sources") / "dsm_mlx"  # nothing is left in the tree
    hidden = shutil.ignore_patterns(".git", ".venv", "*.egg-info", "build", "dist", "__pycache__")
    shutil.copytree(ROOT, sources, ignore=hidden, symlinks=True)
    command = [sys.executable, "-m", "build", "--outdir", str(out), str(sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.slow
def test_the_wheel_has_the_package_and_its_data_alone(built):
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = set(wheel.namelist())
    assert path.name == f"dsm_mlx-{dsm_mlx.__version__}-py3-none-any.whl"
    data = in_package("py.typed", "tiny/*", "tiny/tts/*", "serve/page/static/*")
    assert len(data) > 30
    assert data | in_package("**/*.py") <= names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"dsm_mlx"}


@pytest.mark.slow
def test_the_sdist_has_what_its_tests_need(built, tmp_path):
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
        sdist.extractall(tmp_path, filter="data")
    tracked = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "pyproject.toml"}
    for folder in ("tests", "tools", "demos", "docs", ".ci", ".github"):
        paths = (ROOT / folder).rglob("*")
        tracked |= {p.relative_to(ROOT).as_posix() for p in paths if "__pycache__" not in p.parts}
    assert tracked <= names
    (root,) = tmp_path.iterdir()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
    tests = [root / f"tests/test_{name}.py" for name in ("lm_golden", "readme", "architecture")]
    run([*command, *map(str, tests)], root, env=os.environ | {"PYTHONPATH": str(root)})
