"""Results as people see them: HTML of a notebook, a picture of words over the sound."""

import ast
import base64
import io
import json
import re
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile
from commands import STT, run

from dsm_mlx.cli.transcribe_args import parse
from dsm_mlx.results import EndOfTurn, Pause, Speech, Transcript, Word
from dsm_mlx.showing import page, plot

ROOT = Path(__file__).parents[1]
BUS = ROOT / "demos/audio/bus.wav"
NOTEBOOK = ROOT / "demos/notebook.ipynb"


class Page(HTMLParser):
    """What a browser makes of HTML: (tag, attributes) of every element, and the text."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def transcript(*words, **rest):
    return Transcript(" ".join(word.text for word in words), list(words), **rest)


def test_a_transcript_has_times_and_confidence_on_hover():
    words = Word("the", 0.0, 0.16, 0.95), Word("bus", 0.16, 0.4, 0.5), Word("was", 0.4, 0.6)
    shown = Page(transcript(*words, duration=1.0)._repr_html_())
    titles = [attrs for tag, attrs in shown.tags if "title" in attrs]
    assert [attrs["title"] for attrs in titles] == [
        "0.00 to 0.16 s, confidence 0.95",
        "0.16 to 0.40 s, confidence 0.50",
        "0.40 to 0.60 s",
    ]
    assert ["dotted" in attrs.get("style", "") for attrs in titles] == [False, True, False]
    assert shown.text == "1.00 s, words: 3the bus was"


def test_silences_ends_of_turns_and_speakers_are_shown():
    words = Word("yes", 0, 0.5, speaker="Ann"), Word("no", 2.0, 2.4, speaker="Ann")
    other = Word("why", 3.5, 3.9, speaker="<Bob>")
    shown = Page(transcript(*words, other, turns=[EndOfTurn(3.0)])._repr_html_())
    assert shown.text.endswith("Ann: yes [1.5 s] no ¶<Bob>: why")
    assert [tag for tag, _ in shown.tags].count("br") == 2


def test_text_is_escaped():
    evil = "</span><script>alert(1)</script>", '"onmouseover="x', "&lt;", "\ud800"
    html = transcript(*(Word(text, i, i + 0.5, speaker=text) for i, text in enumerate(evil)))
    html = html._repr_html_()
    shown = Page(html)
    assert {tag for tag, _ in shown.tags} == {"div", "span", "br", "b"}
    assert all(set(attrs) <= {"title", "style"} for _, attrs in shown.tags)
    assert all(text in shown.text for text in evil[:3])
    html.encode("utf-8")


def test_an_empty_and_a_very_long_transcript():
    assert Page(transcript()._repr_html_()).text == "0.00 s, words: 0"
    words = [Word("one", i, i + 0.9) for i in range(page.MOST_WORDS + 7)]
    shown = Page(transcript(*words)._repr_html_())
    assert shown.text.count("one") == page.MOST_WORDS and "7 words more" in shown.text


@pytest.mark.parametrize("word", [Word("x", float("nan"), 1.0), Word(3, 0.0, 1.0), "x"])
def test_what_cannot_be_shown_leaves_the_plain_repr(word):
    assert Transcript("x", [word])._repr_html_() is None
    assert Speech(np.zeros(9, np.float32), 24_000, [word])._repr_html_() is None


def test_a_player_plays_the_very_sound():
    pcm = np.sin(np.arange(2400) / 10).astype(np.float32) / 2
    shown = Page(Speech(pcm, 24_000, [Word("beep", 0.0, 0.1)])._repr_html_())
    (player,) = (attrs for tag, attrs in shown.tags if tag == "audio")
    kind, data = player["src"].split(",")
    assert kind == "data:audio/wav;base64" and "controls" in player
    heard, rate = soundfile.read(io.BytesIO(base64.b64decode(data)), dtype="float32")
    assert rate == 24_000 and np.abs(heard - pcm).max() < 1e-4
    assert shown.text == "beep"


def test_a_sound_that_is_too_long_for_a_page_says_so():
    most = page.MOST_BYTES // 2
    assert "<audio" in Speech(np.zeros(most, np.float32), 24_000)._repr_html_()
    html = Speech(np.zeros(most + 50_000, np.float32), 24_000)._repr_html_()
    assert "<audio" not in html and "no player: 8.1 MB" in html and "save()" in html


def test_sound_that_is_none_leaves_the_plain_repr():
    assert Speech(np.full(9, np.nan, np.float32), 24_000)._repr_html_() is None


# ---- the notebook


def cells():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def shown_by(code, names):
    """Run a cell as a notebook does: what its last line shows, as HTML."""
    *rest, last = ast.parse(code).body
    if not isinstance(last, ast.Expr):
        rest.append(last)
    exec(compile(ast.Module(rest, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)._repr_html_()
    return None


@pytest.mark.thorough
def test_the_notebook_shows_what_it_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    names = {}
    _, heard, spoken, again = (shown_by("".join(cell["source"]), names) for cell in cells())
    assert Page(heard).text.endswith(BUS.with_suffix(".txt").read_text().strip())
    assert "<audio" in spoken and "friend." in Page(spoken).text
    assert "good morning" in Page(again).text


def test_the_notebook_is_kept_without_results():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())


@pytest.mark.thorough
def test_the_notebook_in_jupyter():
    nbclient = pytest.importorskip("nbclient", reason="pip install nbclient ipykernel")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=100, resources=resources).execute()
    shown = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "execute_result"
    ]
    assert len(shown) == 3 and "<audio" in shown[1]


# ---- the picture


def size(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def pixels(png):
    from matplotlib.image import imread

    return imread(io.BytesIO(png))


def test_the_bus_as_a_picture(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "bus.png"
    status, out, err = run(STT, BUS, "--model", "tiny", "--plot", path)
    assert status == 0 and out == BUS.with_suffix(".txt").read_text()
    assert str(path) in err and "Traceback" not in err
    assert size(path.read_bytes()) == (1400, 190)
    assert list(tmp_path.iterdir()) == [path]


def has(png, colour):
    """How many pixels are of a colour, nearly."""
    return int((np.abs(pixels(png)[..., :3] - np.array(colour)).max(-1) < 0.02).sum())


def test_a_picture_has_words_silences_turns_and_pauses():
    pytest.importorskip("matplotlib")
    pcm = np.random.default_rng(0).uniform(-0.5, 0.5, 24_000).astype(np.float32)
    words = Word("$yes$ \\frac", 0.1, 0.5, 0.2), Word("no", 2.0, 2.4)
    empty = plot.picture(transcript(), np.zeros(24_000, np.float32), 8000.0)
    full = transcript(*words, turns=[EndOfTurn(2.7)], pauses=[Pause(t, {0.5: 1.0}) for t in (1, 2)])
    drawn = plot.picture(full, pcm, 8000.0)
    assert size(empty) == size(drawn)
    grey, orange, red = (221 / 255,) * 3, (230 / 255, 149 / 255, 0), (192 / 255, 0, 0)
    for colour in grey, orange, red:
        assert has(empty, colour) < 50 and has(drawn, colour) > 100
    later = transcript(Word("no", 102.0, 102.4))
    assert has(plot.picture(later, pcm, 8000.0, 100.0), (0, 0, 0)) > has(empty, (0, 0, 0))


@pytest.mark.parametrize("seconds, rows", [(8, 1), (8.1, 2), (20, 3)])
def test_a_long_recording_has_a_row_for_eight_seconds(seconds, rows):
    pytest.importorskip("matplotlib")
    png = plot.picture(transcript(), np.zeros(round(seconds * 8000), np.float32), 8000.0)
    assert size(png) == (1400, 150 * rows + 40)


def test_only_so_much_is_drawn(monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(plot, "MOST_SECONDS", 10.0)
    png = plot.picture(transcript(), np.zeros(30 * 8000, np.float32), 8000.0)
    assert size(png) == (1400, 340)


def test_without_matplotlib_it_is_told_before_anything_is_heard(tmp_path):
    code = "import sys; sys.modules['matplotlib'] = None; from dsm_mlx.cli.transcribe import main;"
    code += "sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, BUS, "--plot", tmp_path / "bus.png", "--model", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "error: a picture of a transcript needs matplotlib (pip install 'dsm-mlx[plot]')\n"
    )


@pytest.mark.parametrize(
    "args",
    [["--plot", "x.jpg", "a.wav"], ["--plot", "x.png", "--mic"], ["--plot", "x.png", "a", "b"]],
)
def test_what_cannot_be_drawn_is_refused(args, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse(args)
    assert re.search("error: --plot .*(PNG|one file)", capsys.readouterr().err)
