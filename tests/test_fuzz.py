"""A minute of the campaign of hostile input, and what tells its faults apart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import campaign, case, sounds

from dsm_mlx import AudioError

FUZZ = Path(__file__).parents[1] / "tools/fuzz.py"
COUNT = int(os.environ.get("DSM_MLX_FUZZ", 250))  # cases of each kind


@pytest.mark.thorough
@pytest.mark.parametrize("kind", case.KINDS)
def test_hostile_input_is_fine_or_refused(kind, capsys):
    outcomes = campaign.play((kind,), COUNT, jobs=1)
    assert [found for found in outcomes if found.outcome not in case.GOOD] == [], (
        capsys.readouterr()
    )
    assert len(outcomes) == COUNT and sorted(found.number for found in outcomes) == list(
        range(COUNT)
    )
    assert any(found.outcome == case.FINE for found in outcomes)


def test_the_same_number_is_the_same_case(tmp_path):
    """Its files too, byte for byte; another seed is another one."""
    made = []
    for i, seed in enumerate((0, 0, 1)):
        found = campaign.one("checkpoints", 3, str(tmp_path / str(i)), seed)
        files = sorted(path for path in (tmp_path / str(i) / "model").iterdir() if path.is_file())
        made.append((found.outcome, [(path.name, path.read_bytes()) for path in files]))
    assert made[0] == made[1] and made[0][1] != made[2][1]


def test_relative_names_stay_in_the_folder_of_the_case(tmp_path, monkeypatch):
    def attempt(rng, corpus, folder):
        Path("x").write_text("")

    monkeypatch.setattr(sounds, "attempt", attempt)
    before = os.getcwd()
    assert case.attempt("sounds", 0, tmp_path, tmp_path).outcome == case.FINE
    assert os.getcwd() == before
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("x")] == [Path("current/x")]


def hang(rng, corpus, folder):
    while True:
        pass


def crash(rng, corpus, folder):
    os.abort()


def leave(rng, corpus, folder):
    (folder / ".half.tmp").touch()


def foreign(rng, corpus, folder):
    raise KeyError("none of ours")


def refuse(rng, corpus, folder):
    raise AudioError("this is no sound (expected some)")


def unclear(rng, corpus, folder):
    raise AudioError("two\nlines")


def grow(rng, corpus, folder):
    b"x" * (300 << 20)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "attempt, outcome",
    [
        (refuse, case.REFUSED),
        (foreign, case.FOREIGN),
        (unclear, case.FOREIGN),
        (leave, case.LEFT),
        (grow, case.MEMORY),
        (crash, case.CRASH),
        (hang, case.HANG),
    ],
)
def test_faults_are_told_apart(attempt, outcome, tmp_path, monkeypatch):
    """Each in a process of its own, by a `sounds` that does it; the next case goes on."""
    code = "import sys; sys.path[:0] = sys.argv[1:3]\n"
    code += (
        f"import test_fuzz, fuzzing.sounds; fuzzing.sounds.attempt = test_fuzz.{attempt.__name__}\n"
    )
    code += "from pathlib import Path; from fuzzing import case; case.serve(Path(sys.argv[3]))"
    folders = Path(__file__).parent, FUZZ.parent, tmp_path
    monkeypatch.setattr(campaign, "_COMMAND", [sys.executable, "-c", code, *map(str, folders[:2])])
    monkeypatch.setattr(campaign, "STARTING", 60.0)
    process = campaign.Process(tmp_path)
    monkeypatch.setattr(campaign, "SECONDS", 1.0)
    if attempt is hang:
        process.patience = 3.0
    assert process.attempt("sounds", 0).outcome == outcome
    assert process.gone == (outcome in (case.HANG, case.CRASH))
    process.end()


def test_the_command_tells_and_its_status_says_so():
    command = [sys.executable, FUZZ, "--count", "10", "--kind", "sounds"]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and "10 cases, 0 faults" in found.stdout
    found = subprocess.run([*command, "--case", "1"], capture_output=True, text=True, timeout=120)
    assert found.returncode == 0 and found.stdout.startswith(("fine", "refused"))
