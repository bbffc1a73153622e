"""tools/evaluate.py: its figures against what is known, and the command as users run it."""

import json
import shutil
from pathlib import Path

import evaluate as command
import golden as fixtures
import numpy as np
import pytest
from evaluation import figures, forcing, report
from evaluation.listening import recordings
from evaluation.speaking import Speaking, force, record
from speaking import load as load_tts
from test_lm_golden import load

import dsm_mlx
from dsm_mlx.errors import CheckpointError
from dsm_mlx.runtime.worker import complete
from dsm_mlx.tts.prompt import SpeechOptions

DEMOS = Path(__file__).parents[1] / "demos/audio"


def run(*args) -> int:
    return command.main([str(arg) for arg in args])


def test_divergence_of_known_distributions():
    p, q = np.array([0.5, 0.25, 0.25]), np.array([0.25, 0.5, 0.25])
    expected = 0.5 * np.log(2) - 0.25 * np.log(2)
    logits = (np.log(p)[None] + 7, np.log(q)[None] - 3)  # a constant changes nothing
    assert figures.divergence(*logits) == pytest.approx(expected)
    assert figures.divergence(logits[0], logits[0]) == 0
    large = np.array([[1000.0, 0.0]], np.float32)
    assert figures.divergence(large, large) == 0


def test_agreement():
    assert figures.agreement(np.array([1, 2, 3, 4]), np.array([1, 2, 0, 4])) == 0.75


@pytest.mark.parametrize(
    "expected, heard, errors",
    [
        ("the cat sat", "the cat sat", (0, 3)),
        ("The cat, sat!", "the CAT sat", (0, 3)),
        ("don’t go", "don't go", (0, 2)),  # noqa: RUF001
        ("the cat sat", "the bat sat", (1, 3)),
        ("the cat sat", "the sat", (1, 3)),
        ("the cat sat", "the big cat sat", (1, 3)),
        ("the cat sat", "", (3, 3)),
        ("", "noise", (1, 0)),
        ("a b c d", "b c d a", (2, 4)),
    ],
)
def test_word_errors(expected, heard, errors):
    assert figures.word_errors(expected, heard) == errors


def test_word_error_rate_is_over_all_words():
    assert figures.word_error_rate([("a b c", "a b c"), ("d", "x")]) == 0.25
    assert figures.word_error_rate([("", "x")]) is None


@pytest.mark.parametrize("name", ["stt-tiny", "stt-tiny-delayed"])
def test_a_listener_left_alone_says_what_the_golden_says(name, checkpoint, golden):
    case = golden(name.replace("-", "_"))
    tokens, logits = complete(forcing.listen(load(checkpoint(name)), case["codes"]))
    np.testing.assert_array_equal(tokens, case["dbl_text_tokens"][:, 1:])
    np.testing.assert_array_equal(logits.argmax(-1), tokens)


def test_a_listener_forced_gives_the_goldens_logits(checkpoint, golden):
    """What the priming step says is the model's own, as in the golden."""
    case = golden("stt_tiny")
    tokens = case["dbl_text_tokens"][:, 1:]
    lm = load(checkpoint("stt-tiny"))
    said, logits = complete(forcing.listen(lm, case["codes"], tokens=tokens))
    np.testing.assert_array_equal(said, tokens)
    np.testing.assert_allclose(logits, case["dbl_text_logits"][:, 1:], atol=1e-4, rtol=1e-4)
    other = np.roll(tokens, 1, axis=1)
    _, changed = complete(forcing.listen(lm, case["codes"], tokens=other))
    assert np.abs(changed[:, 1:] - logits[:, 1:]).max() > 1e-2


@pytest.mark.parametrize("name", ["tts-tiny", "tts-tiny-public"])
def test_a_speaker_forced_would_have_said_the_same(name, checkpoint):
    """At temperature 0 the codes that it said are its most likely ones."""
    core = load_tts(checkpoint(name), dtype="float32")
    default = core.voices.default()
    paths = [core.voices.find(default)] if default else []
    voice, options = complete(core.prompts.read("default", paths)), SpeechOptions(0.0)
    spoken = complete(record(core, "some words to say", voice, options))
    text, audio = complete(force(core, spoken, voice, options))
    assert len(text) == len(spoken.text)
    full = (spoken.codes >= 0).all(axis=1)
    assert full.sum() > 10
    np.testing.assert_array_equal(audio.argmax(-1), spoken.codes[full])


def test_recordings_and_their_texts(tmp_path):
    (tmp_path / "b.wav").write_bytes(b"")
    (tmp_path / "a.flac").write_bytes(b"")
    (tmp_path / "a.txt").write_text("hello\n")
    found = recordings([tmp_path, DEMOS / "bus.wav"])
    assert [(item.path.name, item.text and item.text.strip()) for item in found] == [
        ("a.flac", "hello"),
        ("b.wav", None),
        ("bus.wav", "the bus was late because the road was full of snow"),
    ]


@pytest.mark.thorough
def test_the_bundled_model_and_a_recipe(tmp_path, capsys):
    out = tmp_path / "figures.json"
    args = ["tiny", "--recipes", "mixed-3", "--audio", DEMOS / "bus.wav", "--json", out]
    assert run(*args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines] == ["model", "-------", "tiny", "mixed-3"]
    result = json.loads(out.read_text())
    tiny, mixed = result["models"]
    assert result["data"] == "1 recordings, 1 with text"
    assert tiny["text_agreement"] == 1 and tiny["text_kl"] == 0 and tiny["wer"] == 0
    assert 0 < mixed["text_kl"] < 0.1 and mixed["text_agreement"] > 0.9
    assert mixed["code_agreement"] == 1  # the recipe leaves the codec as it is
    assert mixed["bytes"] < tiny["bytes"]
    assert all(row["ms_per_frame"] > 0 and row["peak_bytes"] > 5e6 for row in (tiny, mixed))


def test_without_a_model_it_is_every_recipe_on_the_bundled_one(monkeypatch, capsys):
    asked = []

    def evaluate(args, rows):
        asked.append((args.models, args.recipes))
        return ""

    monkeypatch.setattr(command, "evaluate", evaluate)
    assert run() == 0
    assert asked == [(["tiny"], [])]


@pytest.mark.thorough
def test_the_codec_is_compared_too(checkpoint, tmp_path):
    args = [checkpoint("stt-q64"), "--recipes", "small-4", "--audio", DEMOS / "bus.wav"]
    rows: list[dict] = []
    command.evaluate(command.parser().parse_args([str(arg) for arg in args]), rows)
    assert rows[1]["code_agreement"] < 1 and rows[0]["code_agreement"] == 1


@pytest.mark.thorough
def test_a_speaker_and_its_voices(checkpoint, tmp_path, capsys):
    texts = tmp_path / "texts.txt"
    texts.write_text("some words\n\nand more\n")
    out = tmp_path / "figures.json"
    args = ["--recipes", "q8", "--text", texts, "--voice", "voice1.wav", "--json", out]
    assert run(checkpoint("tts-tiny"), *args, "--stt", checkpoint("stt-tiny")) == 0
    result = json.loads(out.read_text())
    source, quantised = result["models"]
    assert result["data"] == "2 texts of texts.txt"
    assert source["codebook_kl"] == [0] * 8 and source["code_agreement"] == 1
    assert all(0 < kl < 0.2 for kl in quantised["codebook_kl"])
    assert 0.8 < quantised["code_agreement"] < 1 and 0 < quantised["text_kl"] < 0.1
    assert source["wer"] is not None and len(quantised["codebook_kl"]) == 8


def test_a_speaker_at_several_paces(checkpoint, tmp_path, capsys):
    texts, out = tmp_path / "texts.txt", tmp_path / "figures.json"
    texts.write_text("some words to say\n\nand some more\n")
    args = ["--text", texts, "--stt", checkpoint("stt-tiny"), "--json", out]
    assert run(checkpoint("tts-tiny"), "--paces", "0.5", "1.5", *args) == 0
    result = json.loads(out.read_text())
    assert result["data"] == "2 texts of texts.txt"
    slow, fast = result["paces"]
    assert (slow["pace"], fast["pace"], slow["words"], fast["words"]) == (0.5, 1.5, 7, 7)
    assert 0 < slow["words_per_second"] < fast["words_per_second"] < 12.5
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split(" | ")[0] == "| pace" and [line[2:5] for line in lines[1:]] == ["0.5", "1.5"]
    assert run("/no/such/model", "--paces", "5", "--text", texts) == 1
    assert "pace is 5" in capsys.readouterr().err


def test_without_a_listener_there_is_no_wer(checkpoint):
    judge = Speaking(["some words"], "voice0.wav", None)
    assert judge.evaluate(checkpoint("tts-tiny"), None)["wer"] is None


def test_the_table_is_markdown():
    row = {"model": "m", "bytes": 2.5e6, "text_agreement": 0.987, "text_kl": 0.01234}
    row |= {"code_agreement": 1.0, "wer": None, "peak_bytes": 3e6, "ms_per_frame": 4.04}
    head, rule, line = report.table([row]).splitlines()
    assert len(head) == len(rule) == len(line)
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells == ["m", "2.5", "98.7%", "0.0123", "100.0%", "-", "-", "3", "4.0"]


@pytest.mark.parametrize(
    "args, message",
    [
        (["/no/such/model", "tiny"], "no such folder"),
        (["tiny", "tiny", "--audio", "/no/such.wav"], "/no/such.wav: no such file"),
        (["tiny", "tiny", "--kind", "tts", "--stt", "/no/listener"], "/no/listener"),
        (["tiny", "--recipes", "q8", "--audio", str(Path(__file__).parent / "reference")], "sound"),
    ],
)
def test_bad_input(args, message, capsys):
    assert run(*args) == 1
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: ") and message in error


def test_an_empty_text(checkpoint, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("\n")
    assert run(checkpoint("tts-tiny"), "--recipes", "q8", "--text", tmp_path / "texts.txt") == 1
    assert "holds no text" in capsys.readouterr().err


@pytest.mark.parametrize(
    "args", ["tiny", "tiny --recipes unheard-of", "tiny tiny --dtype int8", "tiny tiny --paces"]
)
def test_usage_errors(args, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(*args.split())
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.fixture
def measured(monkeypatch) -> list:
    """The models that were measured, which takes no time here."""
    models = []

    class Judge:
        def evaluate(self, model, dtype):
            models.append(str(model))
            row = {"text_agreement": 1.0, "text_kl": 0.0, "code_agreement": 1.0, "wer": 0.5}
            return row | {"peak_bytes": 1e6, "ms_per_frame": 1.0}

    monkeypatch.setattr(command, "Listening", lambda items: Judge())
    monkeypatch.setattr(command, "Speaking", lambda *_: Judge())
    return models


def altered(checkpoint, name, folder, change) -> Path:
    shutil.copytree(checkpoint(name), folder)
    fixtures.edit_json(folder / "config.json", change)
    return folder


@pytest.mark.parametrize(
    "name, change, message",
    [
        (
            "stt-tiny",
            lambda c: c.setdefault("stt_config", {}).update(audio_delay_seconds=2.5),
            "its delay is 2.5 s, not 0.5 s",
        ),
        (
            "stt-tiny",
            lambda c: c.setdefault("stt_config", {}).update(audio_silence_prefix_seconds=1.0),
            "its silence before the sound is 1.0 s, not 0.0 s",
        ),
        ("stt-tiny", lambda c: c.update(text_card=64), "its number of text tokens is 64"),
        ("stt-tiny", lambda c: c.update(card=63), "its number of values of a code is 63"),
        ("tts-tiny", lambda c: c["tts_config"].update(audio_delay=0.4), "its delay is 0.4 s"),
        ("tts-tiny", lambda c: c["delays"].__setitem__(2, 1), "its delay pattern is ["),
    ],
)
def test_models_that_cannot_be_compared(
    name, change, message, checkpoint, tmp_path, measured, capsys
):
    """Told at once, and not when the first one has been measured for an hour."""
    other = altered(checkpoint, name, tmp_path / "other", change)
    assert run(checkpoint(name), other) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {other}: cannot be compared with {checkpoint(name)}")
    assert message in error and not measured


def test_models_with_other_tokenizers(checkpoint, tmp_path, measured, capsys):
    other = altered(checkpoint, "stt-tiny", tmp_path / "other", lambda c: None)
    tokenizer = other / json.loads((other / "config.json").read_text())["tokenizer_name"]
    tokenizer.write_bytes((Path(dsm_mlx.__file__).parent / "tiny/tokenizer.model").read_bytes())
    assert run(checkpoint("stt-tiny"), other) == 1
    assert "its tokenizer is" in capsys.readouterr().err and not measured


def test_models_that_can_be_compared(checkpoint, tmp_path, measured):
    other = altered(checkpoint, "stt-tiny", tmp_path / "other", lambda c: None)
    assert run(checkpoint("stt-tiny"), other) == 0
    assert measured == [str(checkpoint("stt-tiny")), str(other)]


def test_a_speaker_is_not_compared_with_a_listener(checkpoint, measured, capsys):
    assert run(checkpoint("tts-tiny"), checkpoint("stt-tiny")) == 1
    assert "its kind is stt, not tts" in capsys.readouterr().err
    assert run("tiny", fixtures.CHECKPOINTS / "mimi-tiny") == 1
    assert "is a codec alone" in capsys.readouterr().err and not measured


def test_tinys_speaking_half(measured, capsys):
    assert run("tiny", "tiny", "--kind", "tts") == 0
    assert measured == ["tiny", "tiny"]
    megabytes = capsys.readouterr().out.splitlines()[-1].split("|")[2]
    half = Path(dsm_mlx.__file__).parent / "tiny"
    files = half / "tts/model.safetensors", half / "mimi.safetensors"
    assert float(megabytes) == round(sum(file.stat().st_size for file in files) / 1e6, 1)


@pytest.mark.parametrize("bad", ["missing/figures.json", ".", "file/figures.json", "x" * 300])
def test_a_file_that_cannot_be_written_is_said_first(bad, tmp_path, measured, capsys):
    (tmp_path / "file").write_text("")
    assert run("tiny", "tiny", "--json", tmp_path / bad) == 1
    assert f"error: --json {tmp_path / bad}: cannot be written (" in capsys.readouterr().err
    assert not measured and [path.name for path in tmp_path.iterdir()] == ["file"]


def test_figures_are_printed_before_they_are_written(tmp_path, measured, monkeypatch, capsys):
    def full(path, text):
        assert "| tiny" in capsys.readouterr().out
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(command.outputs, "save", full)
    assert run("tiny", "tiny", "--json", tmp_path / "figures.json") == 1
    assert "No space left" in capsys.readouterr().err


@pytest.mark.parametrize(
    "failure, status", [(CheckpointError("it broke"), 1), (KeyboardInterrupt(), 130)]
)
def test_what_is_measured_is_printed_if_more_fails(
    failure, status, tmp_path, measured, monkeypatch, capsys
):
    def fail(*_):
        raise failure

    monkeypatch.setattr(command, "convert", fail)
    out = tmp_path / "figures.json"
    assert run("tiny", "--recipes", "q8", "--json", out) == status
    shown = capsys.readouterr()
    assert "| tiny" in shown.out and shown.err.splitlines()[-1] in (
        "error: it broke",
        "interrupted",
    )
    assert not out.exists()  # it would look as if it were all
