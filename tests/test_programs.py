"""Ten programs that an app developer would write, as they stand in demos/ and tests/programs/."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import dsm_mlx
from dsm_mlx.audio import read

ROOT = Path(__file__).parents[1]
SOUND = ROOT / "demos/audio"
BUS, KITCHEN = SOUND / "bus.wav", SOUND / "kitchen.wav"
HEARD = {path: path.with_suffix(".txt").read_text().lower().split() for path in (BUS, KITCHEN)}


def ran(program, *arguments):
    """The lines that a program wrote to stdout."""
    path = next(
        path
        for path in (ROOT / "demos" / f"{program}.py", ROOT / "tests/programs" / f"{program}.py")
        if path.exists()
    )
    command = [sys.executable, path, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr, done.stderr
    return done.stdout.splitlines()


def close_to(words, expected):
    """Most of them, in a model as small as `tiny`."""
    found = [word for word in words if word in expected]
    assert len(found) >= len(expected) - 3, (words, expected)


def test_captions_in_an_event_loop():
    *partial, last = ran("captions", KITCHEN)  # each shown in the place of the one before
    close_to(last.split(), HEARD[KITCHEN])
    assert len(partial) > 12


@pytest.mark.thorough
def test_an_llm_that_speaks(tmp_path):
    (said,) = ran("speak_llm", tmp_path / "said.wav")
    expected = "You asked when does the train leave? The answer is that the train leaves at nine."
    assert said.split() == expected.split()
    assert 3 < read(tmp_path / "said.wav").size / 24_000 < 15


@pytest.mark.parametrize("demo", ["captions", "speak_llm", "chat"])
def test_the_demos_are_short(demo):
    assert len((ROOT / f"demos/{demo}.py").read_text().splitlines()) <= 32


def test_barge_in():
    (said,) = ran("barge_in", KITCHEN)
    assert said.startswith("heard 'the' after saying ")
    assert int(said.split()[-4]) < 40


@pytest.mark.thorough
def test_a_sliding_window():
    lines = [line.split() for line in ran("window", KITCHEN)]
    assert [line[0] for line in lines] == ["1.0", "2.0", "3.0", "3.4"]
    close_to(lines[-1][2:], HEARD[KITCHEN])
    counts = [len(line) for line in lines]
    assert counts == sorted(counts) and counts[0] >= 3


@pytest.mark.thorough
def test_two_models_at_once():
    lines = [line.split() for line in ran("two_models", BUS)]
    for line in lines:
        close_to(line[2:], HEARD[BUS])
    assert float(lines[0][0]) + 1 < float(lines[1][0])


@pytest.mark.thorough
def test_a_chat_loop():
    lines = ran("chat_loop", BUS, KITCHEN)
    assert [line.split(":")[0] for line in lines] == ["heard", "answered"] * 2
    close_to(lines[0].split()[1:], HEARD[BUS])
    close_to(lines[2].split()[1:], HEARD[KITCHEN])
    close_to(lines[1].split()[1:], ["the", "train", "leaves", "at", "nine"])
    close_to(lines[3].split()[1:], ["good", "morning", "how", "are", "you"])


@pytest.mark.thorough
def test_what_is_stopped_goes_on(tmp_path):
    state = tmp_path / "state"
    parts = [ran("resumed", BUS, state, stop) for stop in ("1.5", "9")]
    words = [word for part in parts for line in part for word in line.split()]
    assert words == dsm_mlx.load_stt("tiny").transcribe(BUS).text.split()
    close_to(words, HEARD[BUS])
    assert all(map(any, parts))


@pytest.mark.thorough
def test_processes_by_spawn():
    lines = ran("spawned", BUS, KITCHEN)
    for line, path in zip(lines, (BUS, KITCHEN), strict=True):
        name, *words = line.split()
        assert name == f"{path.name}:"
        close_to(words, HEARD[path])


@pytest.mark.thorough
def test_what_a_service_logs(tmp_path):
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    lines = ran("logged", BUS, KITCHEN, broken)
    assert "INFO service   0% finding the files" in lines
    assert any(line.startswith("WARNING dsm_mlx using the bundled model `tiny`") for line in lines)
    assert any("rows, " in line for line in lines)
    errors = [line for line in lines if line.startswith("ERROR service")]
    assert len(errors) == 1 and str(broken) in errors[0]
    assert lines[-1].startswith("INFO service 6.6 s heard in ")


@pytest.mark.thorough
def test_a_service_that_knows_its_limits(small):
    began = time.monotonic()
    lines = ran("limits", small("stt-tiny"))
    assert lines[0] == "three: no row" and lines[-1] == "open at the end: 0 of 2"
    assert sorted(lines[1:-1]) == [f"{who}: heard to 30 s" for who in ("one", "patient", "two")]
    assert time.monotonic() - began < 90
