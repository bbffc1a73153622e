"""tools/evaluate.py --set, --curve and --codec, as users run them."""

import csv
import json
import sys
from pathlib import Path

import commands
import evaluate as command
import numpy as np
import pytest
import soundfile
from evaluation import hearing, pictures, similarity

from dsm_mlx import Transcript, Word

ROOT = Path(__file__).parents[1]
DEMOS = ROOT / "demos/audio"
EVALUATE = [sys.executable, ROOT / "tools/evaluate.py"]
NAMES = ("bus.wav", "cat.flac", "kitchen.wav", "snow.ogg")


def run(*args) -> int:
    return command.main([str(arg) for arg in args])


@pytest.fixture(scope="module")
def folder(small):
    return small("stt-tiny")


@pytest.fixture
def calls(tmp_path) -> Path:
    """A CSV of three short recordings."""
    rng = np.random.default_rng(0)
    rows = [("audio", "text"), ("a.wav", "red bus"), ("b.wav", "green"), ("c.wav", "blue, black")]
    for name, _ in rows[1:]:
        soundfile.write(tmp_path / name, 0.2 * rng.standard_normal(24_000), 24_000)
    with open(tmp_path / "calls.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return tmp_path / "calls.csv"


@pytest.fixture
def heard(monkeypatch):
    """What is heard, instead of by a model: a list of texts, or errors, in their order."""
    told: list = []

    def transcripts(stt, sounds, batch, **options):
        for index, _ in enumerate(sounds):
            text = told[index]
            if not isinstance(text, str):
                raise text
            yield index, Transcript(text, [Word(text, 0.0, 1.0)], duration=1.0)

    monkeypatch.setattr(hearing, "transcripts", transcripts)
    return told


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


@pytest.mark.thorough
def test_a_set_by_the_command(tmp_path):
    paths = [DEMOS / name for name in NAMES]
    rows = [{"audio": str(p), "text": p.with_suffix(".txt").read_text()} for p in paths]
    rows[0]["text"] = "The bus was late, because the road was full of ice!"
    found = tmp_path / "found.jsonl"
    found.write_text("\n".join(map(json.dumps, rows)))
    out = tmp_path / "figures.json"
    status, text, error = commands.run(EVALUATE, "tiny", "--set", found, "--json", out)
    assert status == 0, error
    about, _, head, _, line, *rest = text.splitlines()
    assert about == f"{found}: 4 recordings, Whisper's English normaliser"
    assert dict(zip(cells(head), cells(line), strict=True)) == {
        "set": str(found), "recordings": "4", "minutes": "0.4", "words": "65",
        "words wrong": "1.5%", "substituted": "1", "left out": "0", "put in": "0", "right": "64",
    }  # fmt: skip
    assert f"worst of {found}:" in rest and "full of ice!" in rest[-2]
    (row,) = json.loads(out.read_text())["tables"]["sets"]
    assert row["wer"] == 1 / 65 and row["published"] is None
    assert [len(row["items"]), row["items"][1]["hits"]] == [4, row["items"][1]["hits"]]


def test_errors_of_a_set_are_those_of_all_its_words(calls, folder, heard, capsys):
    heard += ["red bus here", "green", "bloom black"]
    assert run(folder, "--set", calls, "--worst", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert cells(lines[4])[1:] == ["3", "0.1", "5", "40.0%", "1", "0", "1", "4"]
    assert [cells(line)[2] for line in lines[-2:] if line] == ["a.wav"]


@pytest.mark.parametrize(
    ("failure", "status", "said"),
    [
        (ValueError("it broke"), 1, "error: it broke"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_is_known_is_printed_if_more_fails(
    failure, status, said, calls, folder, heard, tmp_path, capsys
):
    heard += ["red bus", "grain", failure]
    out = tmp_path / "figures.json"
    assert run(folder, "--set", calls, "--json", out) == status
    shown = capsys.readouterr()
    assert cells(shown.out.splitlines()[4])[1:5] == ["2 of 3", "0.0", "3", "33.3%"]
    assert shown.err.splitlines()[-1] == said and not out.exists()


def test_a_recording_that_is_damaged(calls, folder, capsys):
    (calls.parent / "c.wav").write_bytes(b"RIFF\x00\x00\x00\x00WAVEjunk")
    assert run(folder, "--set", calls) == 1
    shown = capsys.readouterr()
    assert "c.wav" in shown.err.splitlines()[-1] and "error: " in shown.err


def test_several_sets_and_what_is_published(calls, folder, heard, capsys):
    heard += ["red", "green"]
    other = calls.with_name("earnings22.csv")
    other.write_text(calls.read_text())
    assert run(folder, "--set", calls, other, "--count", "2") == 0
    out = capsys.readouterr().out
    assert "mean of the sets: 33.3% (published: short form 6.4%, long form 7.9%)" in out
    last = [cells(line)[-1] for line in out.splitlines() if line.startswith(f"| {calls.parent}")]
    assert last == ["-", "11.0"] and "2 of 3 recordings" in out


def test_times_of_words_where_they_are_known(calls, folder, heard, capsys):
    heard += ["one"]
    words = [{"text": "one", "start": 0.1, "end": 1.0}]
    lines = calls.with_name("words.jsonl")
    lines.write_text(json.dumps({"audio": "a.wav", "text": "one", "words": words}))
    assert run(folder, "--set", lines) == 0
    out = capsys.readouterr().out
    assert cells(out.splitlines()[4])[-3:] == ["50", "1.00", "0.90"]
    assert "word times, published, of other recordings: F1 0.73, mIoU 0.54" in out


@pytest.mark.thorough
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_curves_as_tables_json_and_pictures(suffix, calls, folder, tmp_path, capsys):
    out = tmp_path / "figures.json"
    plot = tmp_path / f"curves{suffix}"
    asked = ["codebooks=4,1", "level=as it is,-30 dB", "rows=1,2", "bits=q8"]
    args = ["--curve", *asked, "--plot", plot, "--json", out, "--count", "1"]
    assert run(folder, "--set", calls, *args) == 0
    tables = json.loads(out.read_text())["tables"]
    points = {
        name: [row.get("point", row.get("rows")) for row in rows] for name, rows in tables.items()
    }
    assert points == {
        "codebooks": ["4", "1"],
        "level": ["as it is", "-30 dB"] * 2,
        "rows": [1, 2],
        "bits": ["as it is", "q8"],
    }
    assert [row["line"] for row in tables["level"]] == ["as it comes"] * 2 + ["gain=auto"] * 2
    assert all(row["real_time_factor"] > 0 and row["frame_ms_p95"] > 0 for row in tables["rows"])
    magic = {".png": b"\x89PNG", ".svg": b"<?xml"}[suffix]
    for name in points:
        assert (tmp_path / f"curves-{name}{suffix}").read_bytes().startswith(magic)
    assert capsys.readouterr().out.count("| set ") == 3


def test_a_curve_of_delays_is_of_those_that_the_model_knows(heard, calls, capsys):
    heard += ["red bus", "green", "blue black"]
    assert run("tiny", "--set", calls, "--curve", "delay") == 0
    rows = [cells(line)[1] for line in capsys.readouterr().out.splitlines()[4:] if line]
    assert rows == ["0.16 s", "0.32 s", "0.5 s", "0.8 s", "1.2 s", "2 s", "2.5 s"]


@pytest.mark.thorough
def test_what_a_codec_leaves(tmp_path, capsys):
    """More codebooks leave more: of the spectrum, and of the words."""
    out = tmp_path / "figures.json"
    args = ["--codec", "--curve", "codebooks=8,1", "--json", out]
    assert run("tiny", "--set", DEMOS / "bus.wav", *args) == 0
    before, eight, one = json.loads(out.read_text())["tables"]["codebooks"]
    assert before["wer"] == 0 and "mel_db" not in before
    assert 0 < eight["mel_db"] < one["mel_db"] and eight["wer"] < one["wer"]
    assert (eight["bits_per_second"], one["bits_per_second"]) == (900, 112.5)
    assert run("tiny", "--set", DEMOS / "bus.wav", "--codec", "--curve", "codebooks=9") == 1
    assert "codebooks: 9 (expected 1 to 8)" in capsys.readouterr().err


def test_a_voice_says_the_texts(small, folder, tmp_path, heard, monkeypatch, capsys):
    monkeypatch.setattr("evaluation.saying.transcripts", hearing.transcripts)
    heard += ["some words", "or more"]
    texts = tmp_path / "texts.txt"
    texts.write_text("Some words!\n\nand more\n")
    args = ["--text", texts, "--stt", folder, "--curve", "pace=1", "codebooks=2"]
    assert run(small("tts-tiny"), *args, "--json", tmp_path / "figures.json") == 0
    tables = json.loads((tmp_path / "figures.json").read_text())["tables"]
    assert [(row["words"], row["wer"]) for rows in tables.values() for row in rows] == [
        (4, 0.25)
    ] * 2
    assert list(tables) == ["pace", "codebooks"]
    assert run(small("tts-tiny"), "--text", texts, "--curve", "delay") == 1
    assert "--curve delay: needs a model that hears" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--set", "/no/set"], "/no/set: no such file or folder"),
        (
            ["--set", "asterisk-en", "--root", "/no/root"],
            "sudo apt install asterisk-core-sounds-en",
        ),
        (["--curve", "level=loud"], "--curve level: loud (expected as it is; -20 dB"),
        (["--curve", "rows=0"], "--curve rows: 0 (expected numbers from 1 up)"),
        (["--curve", "codebooks=many"], "--curve codebooks: many (expected numbers)"),
        (["--curve", "bits=q1"], "--curve bits: q1 (expected q8"),
        (["--curve", "delay", "--codec"], "--codec has one curve, of codebooks (delay is none)"),
        (["--like", DEMOS / "bus.wav", "--curve", "rows"], "--like needs a model that speaks"),
        (["--curve", "pace"], "--curve pace: needs a model that speaks"),
        (["--curve", "rows", "--plot", "/no/folder/x.png"], "there is no folder /no/folder"),
    ],
)
def test_bad_input_ends_in_one_line(args, said, folder, capsys):
    assert run(folder, *args) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ") and said in error


@pytest.mark.parametrize(
    "args", ["tiny tiny --set x", "--set x", "tiny --set x --recipes", "tiny --curve speed"]
)
def test_usage(args, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*args.split())
    assert stopped.value.code == 2 and "usage:" in capsys.readouterr().err


def test_packages_that_are_missing(folder, calls, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "jiwer", None)
    assert run(folder, "--set", calls) == 1
    assert "pip install 'dsm-mlx[evaluate]'" in capsys.readouterr().err


@pytest.mark.skipif(similarity.available(), reason="Resemblyzer is here")
def test_voices_are_compared_where_a_package_is(small, calls, capsys):
    args = ["--set", calls, "--count", "1", "--like", DEMOS / "bus.wav"]
    assert run(small("tts-tiny"), *args) == 1
    assert "needs Resemblyzer (pip install Resemblyzer)" in capsys.readouterr().err


@pytest.mark.skipif(not similarity.available(), reason="needs Resemblyzer")
def test_the_same_voice_is_more_alike():
    from dsm_mlx.audio import read

    bus, cat = (read(DEMOS / name, target=24_000) for name in NAMES[:2])
    likeness = similarity.Likeness(similarity.Embedder(), bus)
    assert likeness.of(bus) == pytest.approx(1, abs=1e-3) and likeness.of(cat) < 0.95


def test_lines_of_a_picture_can_be_told_apart(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, dpi: drawn.append(figure))
    lines = [pictures.Line(name, (0.5, 1.0), (2.0, 1.0), ("a", "b")) for name in ("here", "there")]
    ordered = [pictures.Line("", (None, None), (2.0, None), ("as it is", "q8"))]
    panels = [pictures.Panel("words wrong, %", lines), pictures.Panel("ms", ordered)]
    pictures.draw(tmp_path / "x.png", "title", "delay, s", panels)
    left, right = drawn[0].axes
    assert (left.get_xlabel(), left.get_ylabel(), left.get_ylim()[0]) == (
        "delay, s",
        "words wrong, %",
        0,
    )
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["here", "there"]
    assert len({(line.get_color(), line.get_marker()) for line in left.lines}) == 2
    assert [tick.get_text() for tick in right.get_xticklabels()] == ["as it is", "q8"]
    assert right.get_legend() is None
