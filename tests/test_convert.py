"""Conversion: nothing is lost between layouts, and quantised is what MLX itself makes of it."""

import hashlib
import json
import shutil
import subprocess
import sys

import golden as fixtures
import mlx.core as mx
import mlx.nn as nn
import numpy as np
import pytest
from hearing import forced_logits, listen, load
from mlx.utils import tree_flatten
from speaking import run_case

import dsm_mlx
from dsm_mlx.codec import layout as codec_layout
from dsm_mlx.codec.config import MimiConfig
from dsm_mlx.codec.model import MimiModel
from dsm_mlx.convert.job import Wanted, convert
from dsm_mlx.convert.output import write_safetensors
from dsm_mlx.convert.recipes import RECIPES, Spec, blanket
from dsm_mlx.convert.source import Source
from dsm_mlx.convert.weights import leaves, spec_of, specs_of
from dsm_mlx.files import weight_map
from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.lm import layout as lm_layout
from dsm_mlx.lm.config import LmConfig
from dsm_mlx.lm.model import MultistreamLM
from dsm_mlx.loading.checkpoint import Checkpoint
from dsm_mlx.loading.outline import Outline

LISTENERS = ["stt-tiny", "stt-tiny-26", "stt-tiny-cond", "stt-tiny-delayed", "stt-q64"]
LISTENERS += ["stt-tiny-shared"]
SPEAKERS = ["tts-tiny", "tts-tiny-public", "tts-tiny-single", "tts-tiny-nativecfg"]
SPEAKERS += ["tts-tiny-shared", "tts-tiny-partial", "tts-tiny-two"]
MOSHI_MLX = {"stt-tiny-mlx": None, "stt-q64-mlx-q4": blanket(4), "stt-q64-mlx-q8": blanket(8)}
CODEC_RECIPE = RECIPES["small-4"]


@pytest.fixture
def converted(checkpoint, tmp_path):
    """`converted(name or folder, **wanted)`: the folder of a conversion."""

    def make(source, **wanted):
        source = source if isinstance(source, type(tmp_path)) else checkpoint(source)
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        convert(Source.find(source), folder, Wanted(**wanted))
        return folder

    return make


def weights(folder) -> dict[str, mx.array]:
    return mx.load(str(Checkpoint.find(folder, None).weights.paths[0]))


def codec_file(folder):
    return folder / json.loads((folder / "config.json").read_text())["mimi_name"]


def assert_same(found: dict[str, mx.array], expected: dict[str, mx.array]):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype, name
        assert mx.array_equal(found[name], array), name


def loaded(outline: Outline) -> nn.Module:
    """A model with the file's own tensors, no dtype changed."""
    model = outline.model
    model.load_weights(list(weight_map.load(outline.layout, outline.tensors()).items()))
    return model


@pytest.mark.parametrize("name", LISTENERS + SPEAKERS)
def test_there_and_back_every_tensor_is_the_same(name, checkpoint, converted):
    there = converted(name, layout="mlx")
    assert weights(there).keys() != weights(checkpoint(name)).keys()
    back = converted(there, layout="pytorch")
    assert_same(weights(back), weights(checkpoint(name)))
    assert codec_file(back).read_bytes() == codec_file(checkpoint(name)).read_bytes()


@pytest.mark.parametrize("name", LISTENERS + SPEAKERS)
def test_both_layouts_load_as_the_same_float32_model(name, checkpoint, converted):
    expected = dict(tree_flatten(load_any(checkpoint(name)).parameters()))
    for layout in ("mlx", "pytorch"):
        assert_same(
            dict(tree_flatten(load_any(converted(name, layout=layout)).parameters())), expected
        )


def load_any(folder) -> nn.Module:
    return Checkpoint.find(folder, None).load_lm(dtype="float32")


@pytest.mark.parametrize("name", MOSHI_MLX)
def test_the_mlx_layout_is_just_what_moshi_mlx_writes(name, checkpoint, converted):
    source = name.partition("-mlx")[0]
    folder = converted(source, recipe=MOSHI_MLX[name], dtype="bfloat16")
    official = Checkpoint.find(checkpoint(name), "stt")
    assert Checkpoint.find(folder, "stt").weights.paths[0].name == official.weights.paths[0].name
    assert_same(weights(folder), weights(checkpoint(name)))


ODD = [blanket(2), blanket(3, 32), blanket(6, 128), blanket(4, 32, "mxfp4")]
ODD += [blanket(8, 32, "mxfp8"), blanket(4, 16, "nvfp4")]


@pytest.mark.parametrize("layout", ["mlx", "pytorch"])
@pytest.mark.parametrize("recipe", [*RECIPES.values(), *ODD], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("name", ["stt-q64", "tts-tiny"])
def test_quantised_is_what_mlx_makes_of_the_same_modules(
    name, recipe, layout, checkpoint, converted
):
    expected = loaded(Checkpoint.find(checkpoint(name), None).outline_lm())
    recipe.quantize(expected, expected.config.transformer.layers)
    assert specs_of(expected)
    found = Checkpoint.find(converted(name, recipe=recipe, layout=layout), None).outline_lm()
    assert specs_of(found.model) == specs_of(expected)
    assert_same(
        dict(tree_flatten(loaded(found).parameters())), dict(tree_flatten(expected.parameters()))
    )


@pytest.mark.parametrize("bits", [4, 8])
def test_quantised_on_disk_is_quantised_while_loading(bits, checkpoint, converted):
    on_disk = load(converted("stt-q64", recipe=blanket(bits)))
    while_loading = Checkpoint.find(checkpoint("stt-q64"), "stt").load_lm(bits, "float32")
    assert_same(
        dict(tree_flatten(on_disk.parameters())), dict(tree_flatten(while_loading.parameters()))
    )


def test_a_recipe_gives_every_role_its_own_bits(converted):
    folder = converted("tts-tiny", recipe=RECIPES["mixed-4"])
    modules = leaves(Checkpoint.find(folder, "tts").outline_lm().model)
    specs = {path: str(spec_of(module)) for path, module in modules.items()}
    assert specs["transformer.layers.1.self_attn.in_proj"] == "4 bits, groups of 32"
    assert specs["transformer.layers.0.self_attn.in_proj"] == "8 bits, groups of 64"
    assert specs["transformer.layers.1.cross_attention.kv_proj"] == "8 bits, groups of 64"
    assert specs["audio_emb"] == specs["text_linear"] == "8 bits, groups of 64"
    assert specs["depformer.layers.0.gating.3.linear_in"] == "8 bits, groups of 32"
    conditioners = {spec for path, spec in specs.items() if path.startswith("condition_provider")}
    assert conditioners == {"None"}


@pytest.mark.parametrize("recipe", [blanket(8), RECIPES["mixed-4"]], ids=lambda r: r.name)
def test_dequantised_says_what_the_quantised_model_says(recipe, converted, golden):
    quantised = converted("stt-q64", recipe=recipe)
    plain = converted(quantised, dequantize=True, dtype="float32", layout="pytorch")
    assert not Checkpoint.find(plain, "stt").outline_lm().quantized
    case = golden("stt_q64")
    args = case["codes"], case["dbl_text_tokens"]
    np.testing.assert_allclose(
        forced_logits(load(plain), *args), forced_logits(load(quantised), *args), atol=1e-4
    )


def test_dequantising_and_quantising_anew(converted):
    folder = converted(
        converted("stt-q64", recipe=blanket(8)), dequantize=True, recipe=RECIPES["mixed-4"]
    )
    direct = converted("stt-q64", recipe=RECIPES["mixed-4"])
    models = [Checkpoint.find(x, None).outline_lm().model for x in (folder, direct)]
    assert specs_of(models[0]) == specs_of(models[1])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtype_is_of_everything_but_conditioners(dtype, converted, checkpoint):
    tensors = weights(converted("tts-tiny", dtype=dtype))
    before = weights(checkpoint("tts-tiny"))
    for name, array in tensors.items():
        if name.startswith("condition_provider"):
            assert array.dtype == before[name].dtype, name
        else:
            assert array.dtype == getattr(mx, dtype), name


LISTEN = """
import sys, numpy as np
from hearing import forced_logits, load
case = np.load(sys.argv[2])
logits = forced_logits(load(sys.argv[1]), case["codes"], case["dbl_text_tokens"])
np.save(sys.argv[3], logits)
"""


@pytest.mark.parametrize(
    "wanted, tolerance, same",
    [
        ({"layout": "mlx", "dtype": "float32"}, 1e-5, 1.0),
        ({"layout": "mlx", "dtype": "float16"}, 1e-5, 1.0),  # holds these bfloat16 values exactly
        ({"recipe": blanket(8)}, 0.04, 0.92),
        ({"recipe": RECIPES["mixed-6"], "layout": "pytorch"}, 0.06, 0.91),
        ({"recipe": RECIPES["mixed-4"]}, 0.17, 0.8),
    ],
    ids=["float32", "float16", "q8", "mixed-6", "mixed-4"],
)
def test_a_fresh_process_meets_the_golden(wanted, tolerance, same, converted, tmp_path):
    """Root mean square error of the logits in units of their spread, and the share of equal tokens.

    The weights are random, so logits lie close together and tokens change more easily than those
    of a model that knows something.
    """
    case = fixtures.REFERENCE / "golden/stt_q64.npz"
    out = tmp_path / "logits.npy"
    command = [sys.executable, "-c", LISTEN, str(converted("stt-q64", **wanted)), str(case)]
    subprocess.run([*command, str(out)], check=True, cwd=fixtures.REFERENCE.parent)
    logits, expected = np.load(out), fixtures.arrays("stt_q64")["dbl_text_logits"]
    assert np.sqrt(np.mean((logits - expected) ** 2)) < tolerance * expected.std()
    assert np.mean(logits.argmax(-1) == expected.argmax(-1)) >= same


@pytest.mark.parametrize("case", ["tts_2spk", "tts_public_prefix"])
def test_a_converted_speaker_meets_the_golden(case, converted, golden):
    meta = fixtures.meta(case)
    rows = run_case(case, converted(meta["checkpoint"], layout="mlx"))
    longest = meta["n_steps"] - meta["n_frames"]
    for i, row in enumerate(rows):
        first = max(0, row.first - longest)
        codes = np.stack(row.codes[first + longest - row.first :], axis=-1)
        end = first + codes.shape[-1]
        expected = golden(case)["frames"][i, 1 : 1 + meta["n_q"], first:end]
        np.testing.assert_array_equal(codes, expected)


def test_a_converted_listener_meets_the_golden(converted, golden):
    case = golden("stt_tiny")
    tokens, _ = listen(load(converted("stt-tiny", layout="mlx")), case["codes"])
    np.testing.assert_array_equal(tokens, case["dbl_text_tokens"][:, 1:])


@pytest.fixture
def codec_alone(tmp_path):
    folder = tmp_path / "codec"
    folder.mkdir()
    for file in ("mimi.safetensors", "mimi_config.json"):
        (folder / file).write_bytes((fixtures.CHECKPOINTS / "mimi-tiny" / file).read_bytes())
    return folder


@pytest.mark.parametrize(
    "wanted, codes_same, pcm_error",
    [({}, 1.0, 1e-5), ({"codec_dtype": "float16"}, 0.99, 0.002), ({"codec_bits": 8}, 0.98, 0.003)],
    ids=["as it is", "float16", "8 bits"],
)
def test_a_codec_alone(wanted, codes_same, pcm_error, codec_alone, converted, golden):
    folder = converted(codec_alone, **wanted)
    codec, case = dsm_mlx.load_codec(folder), golden("mimi_tiny")
    assert np.mean(codec.encode(case["pcm_in"]) == case["codes"]) >= codes_same
    pcm = codec.decode(case["codes"])[..., : case["pcm"].shape[-1]]
    assert np.sqrt(np.mean((pcm - case["pcm"]) ** 2)) <= pcm_error * case["pcm"].std()
    config = json.loads((folder / "mimi_config.json").read_text())
    assert config["conversion"]["source"] == "codec"


def test_the_codecs_transformers_are_quantised_as_mlx_does_it(codec_alone, converted):
    source = Source.find(codec_alone).codec
    expected = loaded(source)
    CODEC_RECIPE.quantize(expected, expected.config.transformer.layers)
    found = Source.find(converted(codec_alone, recipe=CODEC_RECIPE)).codec
    assert set(specs_of(found.model).values()) == {Spec(8, 64)}
    assert_same(
        dict(tree_flatten(loaded(found).parameters())), dict(tree_flatten(expected.parameters()))
    )


def test_provenance_and_no_path_of_this_machine(converted, checkpoint):
    folder = converted("tts-tiny", recipe=RECIPES["mixed-4"])
    text = (folder / "config.json").read_text()
    record = json.loads(text)["model_id"]["conversion"]
    assert record["source"] == "tts-tiny" and record["recipe"] == "mixed-4"
    assert record["modules"]["cross-attention"] == {"8 bits, groups of 64": 9}
    assert set(record["made with"]) == {"dsm_mlx", "mlx"}
    files = {str(p.relative_to(folder)) for p in folder.rglob("*")} - {"config.json"}
    assert set(record["sha256"]) == files
    for name, expected in record["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
    assert "/" not in record["source"] and str(folder.parent) not in text
    again = json.loads((converted(folder) / "config.json").read_text())["model_id"]["conversion"]
    assert again["before"]["recipe"] == "mixed-4"


def test_the_same_conversion_gives_the_same_bytes(converted):
    one, two = (converted("stt-tiny", recipe=RECIPES["mixed-4"]) for _ in range(2))
    for file in one.iterdir():
        assert file.read_bytes() == (two / file.name).read_bytes(), file.name


def test_one_tensor_after_another_is_in_memory(tmp_path):
    """64 matrices of 1 MB, each quantised: what is alive never comes to three of them."""
    source = tmp_path / "source.safetensors"
    mx.save_safetensors(str(source), {f"w{i}": mx.full((512, 512), 1.0 * i) for i in range(64)})
    tensors = {}
    for name, array in mx.load(str(source)).items():
        tensors[name], tensors[f"{name}.scales"], _ = mx.quantize(array, 32, 8)
    del array
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    write_safetensors(tmp_path / "new.safetensors", tensors, {})
    assert mx.get_peak_memory() - before < 3 * (1 << 20)
    assert mx.load(str(tmp_path / "new.safetensors")).keys() >= {"w0", "w63.scales"}


@pytest.mark.parametrize("layout", ["mlx", "pytorch"])
def test_a_whole_conversion_needs_little_memory(layout, tmp_path):
    """A wide model of 40 MB: at most 1.5 times its largest group, the tables of the codebooks."""
    folder = wide_model(tmp_path / "wide")
    outline = Checkpoint.find(folder, "stt").outline_lm()
    largest = max(sum(map(np.prod, group.files.values())) for group in outline.layout) * 2
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    (tmp_path / "new").mkdir()
    limit = mx.set_cache_limit(12345678)
    convert(Source.find(folder), tmp_path / "new", Wanted(recipe=blanket(4), layout=layout))
    assert mx.set_cache_limit(limit) == 12345678  # what follows is as fast as before
    assert (folder / "model.safetensors").stat().st_size > 6 * largest
    assert mx.get_peak_memory() - before < 1.5 * largest


def wide_model(folder):
    """`stt-tiny` made wider, its weights zeros."""
    fixtures.assemble("stt-tiny", folder)
    path = folder / "config.json"
    config = json.loads(path.read_text()) | {"dim": 512, "num_layers": 12}
    path.write_text(json.dumps(config | {"conditioners": {}, "moshi_name": "model.safetensors"}))
    model = MultistreamLM(LmConfig.read(ConfigReader.read(path)))
    shapes = weight_map.expected_shapes(lm_layout.layout_of(model, "pytorch"))
    mx.save_safetensors(
        str(folder / "model.safetensors"),
        {name: mx.zeros(shape, mx.bfloat16) for name, shape in shapes.items()},
    )
    return folder


@pytest.mark.parametrize("recipe", [blanket(4), blanket(4, mode="mxfp4"), None])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_also_where_quantising_hides_them(
    recipe, value, tmp_path
):
    folder = fixtures.assemble("stt-q64", tmp_path / "model")
    path = folder / json.loads((folder / "config.json").read_text())["moshi_name"]
    tensors = mx.load(str(path))
    name = "transformer.layers.0.gating.linear_in.weight"
    tensors[name] = tensors[name].at[3, 5].add(value)
    mx.eval(tensors)
    path.unlink()
    mx.save_safetensors(str(path), tensors)
    (tmp_path / "new").mkdir()
    with pytest.raises(dsm_mlx.CheckpointError, match=rf"{name}.*not finite"):
        convert(Source.find(folder), tmp_path / "new", Wanted(recipe=recipe, layout="mlx"))


@pytest.mark.parametrize(
    "change, told", [({"bins": 16}, "values a codebook"), ({"n_q": 2}, "2 codebooks, the model")]
)
def test_a_codec_that_does_not_fit_its_model_is_refused(change, told, small, tmp_path):
    """As loading refuses it. The codec is another model's: its own files fit each other."""
    folder = shutil.copytree(small("stt-tiny"), tmp_path / "model")
    raw = json.loads((folder / "config.json").read_text())
    codec = json.loads((folder / raw["mimi_config_name"]).read_text())
    codec["quantizer"] |= {"bins": 12} if "bins" in change else change
    (folder / raw["mimi_config_name"]).write_text(json.dumps(codec))
    mimi = MimiModel(MimiConfig.read(ConfigReader(codec, "a codec")))
    tensors = weight_map.save(codec_layout.pytorch(mimi), dict(tree_flatten(mimi.parameters())))
    (folder / raw["mimi_name"]).unlink()
    mx.save_safetensors(
        str(folder / raw["mimi_name"]), {k: mx.contiguous(v) for k, v in tensors.items()}
    )
    (tmp_path / "new").mkdir()
    for call in (
        lambda: dsm_mlx.load_stt(folder),
        lambda: convert(Source.find(folder), tmp_path / "new", Wanted(layout="mlx")),
    ):
        with pytest.raises(dsm_mlx.CheckpointError, match=told):
            call()
    assert not list((tmp_path / "new").iterdir())
