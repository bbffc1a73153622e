"""LoRA: fused as the reference fuses it, from the files that it reads."""

import json
import logging
import shutil

import golden as fixtures
import mlx.core as mx
import numpy as np
import pytest
from converting import refused, run
from hearing import listen
from mlx.utils import tree_flatten
from speaking import compared, run_case
from test_convert import wide_model

import dsm_mlx
from dsm_mlx.errors import CheckpointError
from dsm_mlx.files import weight_map
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.core import identity
from dsm_mlx.loading.lora import linear_files

LORA = {name: fixtures.CHECKPOINTS / f"lora-{name}" for name in ("stt-tiny", "tts-tiny")}
FILE = "lora.safetensors"


@pytest.fixture
def whole(tmp_path):
    """`whole(name)`: a folder whose config names the LoRA beside its weights."""

    def make(name):
        folder = fixtures.assemble(name, tmp_path / name)
        shutil.copy(LORA[name] / FILE, folder)
        shape = json.loads((LORA[name] / "config.json").read_text())
        fixtures.edit_json(folder / "config.json", lambda c: c.update(shape, lora_name=FILE))
        return folder

    return make


def with_lora(folder, kind="stt") -> Checkpoint:
    return Checkpoint.find(folder, kind, lora=LORA[f"{kind}-tiny"] / FILE)


def tensors(lm, layout="pytorch") -> dict[str, mx.array]:
    """The model's weights under the names of the published files."""
    return weight_map.save(lm_layout.layout_of(lm, layout), dict(tree_flatten(lm.parameters())))


def test_what_a_fused_model_hears_is_exact(checkpoint, golden, whole):
    case = golden("lora_stt")
    for found in (with_lora(checkpoint("stt-tiny")), Checkpoint.find(whole("stt-tiny"), "stt")):
        tokens, _ = listen(found.load_lm(dtype="float32"), case["codes"])
        np.testing.assert_array_equal(tokens, case["dbl_text_tokens"][:, 1:])
    plain, _ = listen(Checkpoint.find(checkpoint("stt-tiny"), "stt").load_lm(), case["codes"])
    assert np.mean(plain == tokens) < 0.9  # it does change what is heard


def test_what_a_fused_model_says_is_exact(whole, golden):
    meta, arrays = fixtures.meta("lora_tts"), golden("lora_tts")
    for what, ours, theirs in compared(run_case("lora_tts", whole("tts-tiny")), meta, arrays):
        assert ours == theirs, what


@pytest.mark.parametrize("name", ["stt-tiny", "stt-tiny-mlx"])
def test_weights_are_those_of_the_reference(name, checkpoint, golden):
    """In float32, and in bfloat16 with its three roundings; also into a base in the MLX layout."""
    case = golden("lora_stt")
    names = {n.removeprefix("weight ") for n in case if n.startswith("weight ")}
    assert len(names) == 4
    for dtype, start, most in (("float32", "weight", 1e-6), ("bfloat16", "bf16 weight", 0)):
        found = tensors(with_lora(checkpoint(name)).load_lm(dtype=dtype))
        for theirs in names:
            ours = found[theirs.replace("in_projs.0.weight", "in_proj_weight")]
            values = np.array(ours.astype(mx.float32))
            np.testing.assert_allclose(values, case[f"{start} {theirs}"], rtol=0, atol=most)


@pytest.mark.parametrize("layout", ["mlx", "pytorch"])
@pytest.mark.parametrize("name", LORA)
def test_a_conversion_writes_the_fused_model(name, layout, whole, tmp_path):
    source, new = whole(name), tmp_path / "new"
    assert run(source, new, "--layout", layout) == 0
    config = json.loads((new / "config.json").read_text())
    assert not [key for key in config if key.startswith("lora")]
    assert config["model_id"]["conversion"]["lora"] == {"file": FILE, "scaling": 1.5}
    written = Checkpoint.find(new, None).load_lm(dtype="bfloat16")
    fused = Checkpoint.find(source, None).load_lm(dtype="bfloat16")
    for (path, ours), (_, theirs) in zip(
        tree_flatten(written.parameters()), tree_flatten(fused.parameters()), strict=True
    ):
        assert mx.array_equal(ours, theirs), path


def test_quantised_while_loading_is_what_a_conversion_writes(checkpoint, tmp_path):
    base, lora = checkpoint("stt-tiny"), LORA["stt-tiny"] / FILE
    assert run(base, tmp_path / "q8", "-q", "--q-bits", 8, "--lora", lora) == 0
    written = Checkpoint.find(tmp_path / "q8", "stt").load_lm(dtype="float32")
    loaded = with_lora(base).load_lm(bits=8, dtype="float32")
    ours, theirs = (dict(tree_flatten(lm.parameters())) for lm in (written, loaded))
    assert ours.keys() == theirs.keys() and any(name.endswith("scales") for name in ours)
    assert all(mx.array_equal(ours[name], theirs[name]) for name in ours)


def test_through_the_public_face(checkpoint, caplog):
    """Handles with and without it are two models, and their states are not exchanged."""
    caplog.set_level(logging.INFO, "dsm_mlx")
    base, lora = checkpoint("stt-tiny"), LORA["stt-tiny"] / FILE
    with dsm_mlx.load_stt(base) as plain, dsm_mlx.load_stt(base, lora=str(lora)) as fused:
        assert "fused into 17 of 17 tensors, scaling 1.5" in caplog.text
        saved = plain.stream().save()
        with pytest.raises(ValueError, match="model"):
            fused.resume(saved)
    found = with_lora(base)
    assert identity(found) != identity(Checkpoint.find(base, "stt"))
    with pytest.raises(TypeError, match="lora is 3 "):
        dsm_mlx.load_stt(base, lora=3)


def test_fusing_needs_little_memory(tmp_path):
    """Beside the weights at most five of the widest matrix, in float32."""
    folder = wide_model(tmp_path / "wide")
    model = Checkpoint.find(folder, "stt").outline_lm().model
    published = lm_layout.layout_of(model, "pytorch")
    arrays, widest = {}, 0
    for file, ((rows, columns), _) in linear_files(model, published).items():
        start = file.removesuffix(".weight").removesuffix("_weight")
        arrays[f"{start}.lora_A.weight"] = mx.zeros((4, columns), mx.bfloat16)
        arrays[f"{start}.lora_B.weight"] = mx.zeros((rows, 4), mx.bfloat16)
        widest = max(widest, rows * columns)
    mx.save_safetensors(str(tmp_path / FILE), arrays)
    del model, published, arrays
    mx.clear_cache()
    before, limit = mx.get_active_memory(), mx.set_cache_limit(0)
    mx.reset_peak_memory()
    lm = Checkpoint.find(folder, "stt", lora=tmp_path / FILE).load_lm(dtype="bfloat16")
    mx.set_cache_limit(limit)
    own = sum(array.nbytes for _, array in tree_flatten(lm.parameters()))
    assert own > 10 * 4 * widest
    assert mx.get_peak_memory() - before - own < 5 * 4 * widest


# ---- shapes and names that the reference takes


def changed(tmp_path, change, name="stt-tiny", **config):
    """The LoRA of a fixture with other tensors, and a config of its own."""
    folder = tmp_path / "changed"
    folder.mkdir()
    arrays = mx.load(str(LORA[name] / FILE))
    mx.eval(arrays)
    change(arrays)
    mx.save_safetensors(str(folder / FILE), arrays)
    if config:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / FILE


def joined(arrays):
    """The sets of the depth decoder as one tensor, as the reference's hook takes them apart."""
    for half in "AB":
        for at in ("in", "out"):
            start, end = f"depformer.layers.0.self_attn.{at}_proj", f"lora_{half}.weight"
            parts = [arrays.pop(f"{start}s.{i}.{end}") for i in range(6)]
            arrays[f"{start}.{end}"] = mx.concatenate(parts)


def test_sets_of_weights_may_be_joined(checkpoint, tmp_path):
    file = changed(tmp_path, joined, "tts-tiny", lora_rank=4, lora_scaling=1.5)
    base = checkpoint("tts-tiny")
    ours = tensors(Checkpoint.find(base, "tts", lora=file).load_lm(dtype="float32"))
    theirs = tensors(with_lora(base, "tts").load_lm(dtype="float32"))
    assert all(mx.array_equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("name", ["stt-tiny", "stt-tiny-mlx"])
def test_whole_tensors_take_the_place_of_the_bases(name, checkpoint, tmp_path):
    """As a fine-tuned embedding, which the reference loads over the base's; and without a config
    the scaling is the reference's."""

    def change(arrays):
        arrays["emb.3.weight"] = mx.full((65, 64), 0.25, mx.bfloat16)
        for key in [key for key in arrays if "lora" in key and "text_linear" not in key]:
            del arrays[key]

    file = changed(tmp_path, change)
    found = tensors(Checkpoint.find(checkpoint(name), "stt", lora=file).load_lm(dtype="float32"))
    base = tensors(Checkpoint.find(checkpoint(name), "stt").load_lm(dtype="float32"))
    assert mx.all(found["emb.3.weight"] == 0.25)
    assert mx.array_equal(found["emb.2.weight"], base["emb.2.weight"])
    own = {key: array.astype(mx.float32) for key, array in mx.load(str(file)).items()}
    added = own["text_linear.lora_B.weight"] @ own["text_linear.lora_A.weight"]
    assert mx.allclose(found["text_linear.weight"], base["text_linear.weight"] + 2 * added)


# ---- what is wrong


def drop(name):
    return lambda arrays: arrays.pop(name)


def put(name, shape, dtype=mx.bfloat16):
    return lambda arrays: arrays.update({name: mx.zeros(shape, dtype)})


IN = "transformer.layers.0.self_attn.in_projs.0"
WRONG = [
    (drop(f"{IN}.lora_A.weight"), "missing: lora_A for transformer.layers.0.self_attn.in_proj_wei"),
    (drop("text_linear.lora_B.weight"), "missing: lora_B for text_linear.weight"),
    (put("text_linear.lora_A.weight", (4, 65)), "is [4, 65], expected [4, 64]"),
    (put("text_linear.lora_B.weight", (95, 4)), "is [95, 4], expected [96, 4]"),
    (put("text_linear.lora_B.weight", (96,)), "is [96], expected [96, 4]"),
    (put("text_linear.lora_A.weight", (4, 64), mx.int32), "mistyped: text_linear.lora_A.weight"),
    (put("emb.0.lora_A.weight", (4, 64)), "unexpected: emb.0.lora_A.weight"),
    (put("elsewhere.lora_A.weight", (4, 64)), "unexpected: elsewhere.lora_A.weight"),
    (put("transformer.layers.0.self_attn.in_projs.1.lora_A.weight", (4, 64)), "unexpected: "),
    (put("elsewhere.weight", (4, 64)), "unexpected: elsewhere.weight"),
    (put("text_emb.weight", (4, 64)), "text_emb.weight is [4, 64], expected [97, 64]"),
    (lambda arrays: (arrays.clear(), put("text_emb.weight", (97, 64))(arrays)), "no tensor is cal"),
]  # fmt: skip


@pytest.mark.parametrize("change, message", WRONG)
def test_a_lora_that_does_not_fit(change, message, checkpoint, tmp_path):
    file = changed(tmp_path, change, lora_rank=4)
    with pytest.raises(CheckpointError) as caught:
        dsm_mlx.load_stt(checkpoint("stt-tiny"), lora=file)
    text = str(caught.value)
    assert text.startswith(f"{file}: no LoRA of this model: ") and message in text
    assert "\n" not in text


@pytest.mark.parametrize("bits", [None, 8])
def test_a_lora_that_is_not_finite(bits, checkpoint, tmp_path):
    def change(arrays):
        arrays["text_linear.lora_A.weight"] += float("inf")

    file = changed(tmp_path, change)
    with pytest.raises(CheckpointError, match=r"lora_A.weight holds values that are not fin"):
        dsm_mlx.load_stt(checkpoint("stt-tiny"), lora=file, bits=bits)


def test_one_of_another_rank_than_its_config_says(checkpoint, tmp_path):
    file = changed(tmp_path, lambda arrays: None, lora_rank=8)
    with pytest.raises(CheckpointError, match=r"is \[4, 64\], expected \[8, 64\]"):
        dsm_mlx.load_stt(checkpoint("stt-tiny"), lora=file)


@pytest.mark.parametrize(
    "values, message",
    [
        ({"lora": False}, "'lora_name' is 'lora.safetensors', but 'lora' is not true"),
        ({"lora_name": None}, "'lora' is true, but 'lora_name' names no file"),
        ({"lora_name": "../x"}, "is not the name of a file in its folder"),
        ({"lora_name": "none.safetensors"}, "has no file 'none.safetensors'"),
        ({"lora_rank": 0}, "'lora_rank' is 0"),
        ({"lora_scaling": "strong"}, "'lora_scaling' is 'strong'"),
        ({"lora": "yes"}, "'lora' is 'yes'"),
    ],
)
def test_configs_that_are_wrong(values, message, whole):
    folder = whole("stt-tiny")
    fixtures.edit_json(folder / "config.json", lambda c: c.update(values))
    with pytest.raises(CheckpointError, match=r"config.json|folder|no file") as caught:
        dsm_mlx.load_stt(folder)
    assert message in str(caught.value)


def test_files_that_are_no_lora(checkpoint, tmp_path):
    base = checkpoint("stt-tiny")
    for lora, message in (
        (tmp_path / "none", "no such file"),
        (tmp_path, "no such file"),
        ("hf://owner/only", "expected hf://owner/repository/path"),
        (base / "config.json", "not a safetensors file"),
    ):
        with pytest.raises(CheckpointError, match=message):
            dsm_mlx.load_stt(base, lora=lora)
    with pytest.raises(CheckpointError, match="is quantised, so no LoRA can be fused into it"):
        dsm_mlx.load_stt(checkpoint("stt-q64-mlx-q8"), lora=LORA["stt-tiny"] / FILE)
    with pytest.raises(CheckpointError, match="a codec alone, which takes no LoRA"):
        Checkpoint.find(fixtures.CHECKPOINTS / "mimi-tiny", None, lora=LORA["stt-tiny"] / FILE)


def test_a_link_in_a_folder_is_not_followed_into_a_conversion(whole, tmp_path, monkeypatch, capsys):
    folder = whole("stt-tiny")
    (folder / FILE).unlink()
    (folder / FILE).symlink_to(LORA["stt-tiny"] / FILE)
    assert "which is not followed" in refused(folder, tmp_path, monkeypatch, capsys)
