"""Checkpoints in the layout of Transformers: what its own models hear, exactly."""

import json
import shutil

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest
from converting import run
from hearing import listen
from sentencepiece import SentencePieceProcessor

import dsm_mlx
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import network, weight_map
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.loading import local
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.tokenizer import sentencepiece_of

LISTENER, CODEC = (fixtures.CHECKPOINTS / name for name in ("stt-trfs", "mimi-trfs"))
WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path):
    """A listener to damage."""
    return shutil.copytree(LISTENER, tmp_path / "listener")


@pytest.fixture
def codec(tmp_path):
    return shutil.copytree(CODEC, tmp_path / "codec")


def heard(folder, case) -> np.ndarray:
    """The tokens of every frame, from sound."""
    found = Checkpoint.find(folder, "stt")
    lm, mimi = found.load_lm(dtype="float32"), found.load_mimi(8, decoder=False)
    return listen(lm, case["pcm_in"][:, 0], codec=mimi)[0]


def check_heard(folder, case) -> None:
    """The first of transformers' tokens are the initial one and what follows on it alone."""
    np.testing.assert_array_equal(heard(folder, case)[:, :-1], case["tokens"][:, 2:])


def check_codec(folder, case) -> None:
    mimi = dsm_mlx.load_codec(folder)
    np.testing.assert_array_equal(mimi.encode(case["pcm_in"]), case["codes"])
    np.testing.assert_allclose(mimi.decode(case["codes"])[..., ::4], case["pcm"], atol=1e-5)


def test_what_is_heard_is_exact(golden):
    check_heard(LISTENER, golden("trfs_stt"))


def test_codes_and_sound_are_exact(golden):
    check_codec(CODEC, golden("trfs_mimi"))


@pytest.mark.parametrize("layout", ["mlx", "pytorch"])
def test_conversions_are_exact(layout, golden, tmp_path):
    """Both are complete in Kyutai's layout: nothing is read from the source any more."""
    assert run(LISTENER, tmp_path / "stt", "--layout", layout) == 0
    assert run(CODEC, tmp_path / "codec", "--layout", layout) == 0
    config = json.loads((tmp_path / "stt/config.json").read_text())
    assert Checkpoint.find(tmp_path / "stt", "stt").foreign is None
    assert config["kv_repeat"] == 2 and config["stt_config"]["audio_delay_seconds"] == 0.5
    assert set(config["model_id"]["conversion"]["sha256"]) == {
        *("model.safetensors", "mimi.safetensors", "mimi_config.json", "tokenizer.model"),
    }
    check_heard(tmp_path / "stt", golden("trfs_stt"))
    check_codec(tmp_path / "codec", golden("trfs_mimi"))


def test_there_and_back_every_tensor_is_the_same(tmp_path):
    """Of Kyutai's layout, from which the other one is made by the layout's own inverse."""
    assert run(LISTENER, tmp_path / "new", "--layout", "pytorch") == 0
    outline = Checkpoint.find(tmp_path / "new", "stt").outline_lm()
    parameters = weight_map.load(outline.layout, outline.tensors())
    layout = lm_layout.layout_of(outline.model, "transformers")
    back, theirs = weight_map.save(layout, parameters), mx.load(str(LISTENER / WEIGHTS))
    assert back.keys() == {name for name in theirs if not name.startswith("codec_model.")}
    assert all(mx.array_equal(array, theirs[name]) for name, array in back.items())


def test_quantised(golden, tmp_path):
    assert run(LISTENER, tmp_path / "q8", "--q-bits", 8, "-q", "--q-group-size", 32) == 0
    quantised = Checkpoint.find(tmp_path / "q8", "stt")
    assert quantised.outline_lm().quantized
    found = heard(tmp_path / "q8", golden("trfs_stt"))
    # Random weights are near to nothing: a quarter of the tokens is far above chance, 1 in 96.
    assert np.mean(found[:, :-1] == golden("trfs_stt")["tokens"][:, 2:]) > 0.25


def split(folder, parts: int = 3) -> None:
    """The weights as an index and several files."""
    tensors = mx.load(str(folder / WEIGHTS))
    mx.eval(tensors)
    (folder / WEIGHTS).unlink()
    places = {}
    for i in range(parts):
        file = f"model-{i + 1:05}-of-{parts:05}.safetensors"
        own = {name: tensors[name] for name in sorted(tensors)[i::parts]}
        mx.save_safetensors(str(folder / file), own)
        places |= dict.fromkeys(own, file)
    index = {"metadata": {"total_size": 1}, "weight_map": places}
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps(index))


def test_weights_in_several_files(folder, codec, golden, capsys):
    for path in (folder, codec):
        split(path)
    check_heard(folder, golden("trfs_stt"))
    check_codec(codec, golden("trfs_mimi"))
    assert run("--inspect", folder) == 0
    assert "model-00001-of-00003.safetensors and 2 more, " in capsys.readouterr().out
    (folder / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no file 'model-00002-of-00003.safetensors'"):
        dsm_mlx.load_stt(folder)


def test_a_tensor_that_is_in_two_files(folder):
    split(folder)
    first, second = (folder / f"model-0000{i}-of-00003.safetensors" for i in (1, 2))
    name, array = next(iter(mx.load(str(first)).items()))
    mx.eval(array)
    tensors = mx.load(str(second)) | {name: array}
    mx.eval(tensors)
    mx.save_safetensors(str(second), tensors)
    with pytest.raises(CheckpointError, match="is in another file, too"):
        dsm_mlx.load_stt(folder)


def test_the_public_faces(folder, golden):
    with dsm_mlx.load_stt(folder) as stt:
        assert stt.info.kind == "stt" and stt.delay == 0.5 and stt.info.languages == ("en",)
        pcm = golden("trfs_stt")["pcm_in"][0, 0]
        assert stt.transcribe(pcm, sample_rate=24_000).words
    for wrong in (dsm_mlx.load_tts, dsm_mlx.load_stt):
        source = folder if wrong is dsm_mlx.load_tts else CODEC
        with pytest.raises(CheckpointError, match=r"'model_type' is '(kyutai|mimi)") as caught:
            wrong(source)
        assert "\n" not in str(caught.value)


def test_languages_and_files_of_a_published_one(tmp_path):
    folder = shutil.copytree(LISTENER, tmp_path / "stt-1b-en_fr-trfs")
    found = local._of(Checkpoint.find(folder, "stt").files)
    assert found.languages == ("en", "fr") and found.kind == "stt"
    assert found.bytes == sum(
        (folder / name).stat().st_size for name in (WEIGHTS, "tokenizer.json")
    )


@pytest.mark.parametrize("missing", [None, "tokenizer.json", "processor_config.json"])
def test_those_in_the_cache_are_listed_if_they_are_whole(missing, tmp_path, monkeypatch):
    """Whether in one file or in several; and nobody is asked for what is missing."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(network, "_ask", lambda *_: pytest.fail("the hub was asked"))
    for name in ("stt-1b-en_fr-trfs", "stt-2.6b-en-trfs"):
        home = tmp_path / f"models--kyutai--{name}"
        (home / "refs").mkdir(parents=True)
        (home / "refs/main").write_text("abc")
        snapshot = shutil.copytree(LISTENER, home / "snapshots/abc")
        if missing:
            (snapshot / missing).unlink()
    split(snapshot)
    listed = [model.name for model in local.local_models() if model.name.startswith("kyutai/")]
    assert listed == ([] if missing else ["kyutai/stt-1b-en_fr-trfs", "kyutai/stt-2.6b-en-trfs"])


def test_the_configs_of_older_versions(folder, golden):
    """The base of the rotation beside the others, and what prepares the sound in its own file."""
    fixtures.edit_json(folder / "config.json", older)
    processor = json.loads((folder / "processor_config.json").read_text())["feature_extractor"]
    (folder / "processor_config.json").unlink()
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    check_heard(folder, golden("trfs_stt"))


def older(config: dict) -> None:
    for part in (config, config["codec_config"]):
        part["rope_theta"] = part.pop("rope_parameters")["rope_theta"]
    config["codec_config"] |= {"frame_rate": 12.5}
    del config["codec_config"]["_frame_rate"]


def test_a_codec_of_transformers_beside_a_model_of_kyutais(checkpoint, tmp_path, golden):
    """Each file is recognised by itself."""
    folder = shutil.copytree(checkpoint("stt-tiny"), tmp_path / "mixed")
    values = json.loads((folder / "config.json").read_text())
    shutil.copy(CODEC / WEIGHTS, folder / values["mimi_name"])
    shutil.copy(CODEC / "config.json", folder / values["mimi_config_name"])
    mimi = Checkpoint.find(folder, None).load_mimi(None)
    assert mimi.config.bins == 16
    check_codec(folder, golden("trfs_mimi"))


# ---- what is wrong


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("hidden_act", "gelu"), ("vocab_size", None), ("head_dim", 16), ("ffn_dim", 175)],
        *[("rms_norm_eps", 1e-6), ("num_key_value_heads", 3), ("audio_bos_token_id", 3)],
        *[("sliding_window", 0), ("num_codebooks", 500), ("tie_word_embeddings", True)],
        *[("rope_theta", None), ("rope_type", "yarn"), ("codec_config", None)],
    ],
)
def test_configs_that_are_refused(key, value, folder):
    def change(config):
        place = config["rope_parameters"] if key.startswith("rope") else config
        place[key] = value

    fixtures.edit_json(folder / "config.json", change)
    with pytest.raises(CheckpointError, match=f"'{key}' ") as caught:
        dsm_mlx.load_stt(folder)
    assert str(folder / "config.json") in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *[("audio_channels", 2), ("use_causal_conv", False), ("pad_mode", "reflect")],
        *[("num_semantic_quantizers", 2), ("num_key_value_heads", 2), ("norm_eps", 1e-6)],
        *[("vector_quantization_hidden_dimension", 8), ("upsampling_ratios", [8, 0])],
        *[("use_conv_shortcut", True), ("trim_right_ratio", 0.5), ("num_quantizers", 65)],
    ],
)
def test_codecs_that_are_refused(key, value, codec):
    fixtures.edit_json(codec / "config.json", lambda config: config.update({key: value}))
    with pytest.raises(CheckpointError, match=f"'{key}' ") as caught:
        dsm_mlx.load_codec(codec)
    assert str(codec / "config.json") in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (WEIGHTS, "has no file 'model.safetensors.index.json'"),
        ("processor_config.json", "has neither preprocessor_config.json nor processor_config"),
        ("tokenizer.json", "has no file 'tokenizer.json'"),
    ],
)
def test_files_that_are_missing(name, message, folder):
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=message):
        dsm_mlx.load_stt(folder)


@pytest.mark.parametrize("name", ["codec_model.downsample.conv.weight", "model.norm.weight"])
def test_a_tensor_is_missing_or_misshapen(name, folder):
    tensors = mx.load(str(folder / WEIGHTS))
    mx.eval(tensors)
    short = name.removeprefix("codec_model.")
    for change, fault in ((None, "missing"), (tensors[name][:-1], "misshapen")):
        others = {key: array for key, array in tensors.items() if key != name}
        others |= {} if change is None else {name: change}
        mx.save_safetensors(str(folder / WEIGHTS), others)
        with pytest.raises(CheckpointError, match=f"{fault}: {short} "):
            dsm_mlx.load_stt(folder)


@pytest.mark.parametrize("places", [{}, {"x": "../x.safetensors"}, {"x": "x.bin"}, {"x": 3}])
def test_an_index_that_is_wrong(places, folder):
    (folder / WEIGHTS).unlink()
    (folder / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": places}))
    with pytest.raises(CheckpointError, match=r"weight_map|not the name of a file in its folder"):
        dsm_mlx.load_stt(folder)


# ---- the tokenizer

ORIGINAL = fixtures.CHECKPOINTS / "tokenizers/tokenizer_en_fr_audio_96.model"


def test_the_tokenizer_is_the_original(golden):
    ours = Checkpoint.find(LISTENER, "stt").load_tokenizer()
    original = SentencePieceProcessor(str(ORIGINAL))
    lines = (fixtures.REFERENCE / "text.txt").read_text().splitlines()
    for line in [*lines, "", "  two  spaces ", "<s> </s> ∞ é"]:
        ids = original.encode(line)
        assert ours.encode(line) == ids and ours.decode(ids) == original.decode(ids), line
    assert [ours.id_to_piece(i) for i in range(96)] == [original.id_to_piece(i) for i in range(96)]
    assert ours.decode([0, 1, 2, 3, 10]) == original.decode([0, 1, 2, 3, 10])
    # And transformers' own, of the first lines.
    found = [token for line in lines[:20] for token in [*ours.encode(line), -1]]
    assert found == golden("trfs_stt")["text_ids"].tolist()


def test_bytes_for_what_no_piece_has(tmp_path):
    vocab = [["<unk>", 0], ["▁", -1.0], *([f"<0x{i:02X}>", -9.0] for i in range(256))]
    path = tmp_path / "tokenizer.json"
    model = {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": True}
    path.write_text(json.dumps({"model": model, "added_tokens": []}))
    tokenizer = SentencePieceProcessor()
    tokenizer.LoadFromSerializedProto(sentencepiece_of(path))
    assert tokenizer.decode(tokenizer.encode("é∞ a")) == "é∞ a"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["model"].update(type="BPE"), "'type' is 'BPE' (expected one of Unigram)"),
        (lambda t: t["model"].update(vocab=[["a"]]), "'vocab' holds ['a'] at 0"),
        (lambda t: t["model"].update(vocab=[["a", "b"]]), "'vocab' holds ['a', 'b'] at 0"),
        (lambda t: t["model"].update(vocab=[]), "'vocab' holds 0 pieces"),
        (
            lambda t: t["model"].update(vocab=[["a", 0]] * (2**20 + 1)),
            "'vocab' holds 1048577 pieces (expected at most 1048576)",
        ),
        (lambda t: t.pop("model"), "'model' is missing"),
        (lambda t: t.update(added_tokens=[3]), "'added_tokens' holds 3"),
        (
            lambda t: t.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "*"}),
            "'precompiled_charsmap' is not in base64",
        ),
    ],
)
def test_tokenizers_that_are_refused(change, message, folder):
    fixtures.edit_json(folder / "tokenizer.json", change)
    with pytest.raises(CheckpointError) as caught:
        dsm_mlx.load_stt(folder)
    assert message in str(caught.value) and str(folder / "tokenizer.json") in str(caught.value)
