"""Loading a language model: memory is told before, and what is wrong in one line."""

import json
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import pytest

from dsm_mlx.chat.replies.local import LocalReply
from dsm_mlx.errors import CheckpointError
from dsm_mlx.llm import loading
from dsm_mlx.llm.loading import token_bytes

pytest.importorskip("mlx_lm", reason="mlx-lm is not installed: pip install '.[chat]'")
import small_llm


def test_weights_are_shared_and_what_is_kept_is_not(llm):
    first, second = (LocalReply(llm(), temperature=0, max_tokens=5) for _ in range(2))
    assert first._writer._net is second._writer._net
    list(first([{"role": "user", "content": "hi"}]))
    assert first._writer.known and not second._writer.known


def test_memory_is_told_and_too_little_is_refused(llm, monkeypatch, caplog):
    """Before anything is loaded."""
    caplog.set_level("INFO", "dsm_mlx")
    folder, load, told = llm(small_llm.TEMPLATE, seed=7), loading._load, []

    def noted(*args):
        told.append(caplog.text)
        return load(*args)

    monkeypatch.setattr(loading, "_load", noted)
    monkeypatch.setattr(loading, "free_memory", lambda: 100_000)
    with pytest.raises(CheckpointError, match=r"takes 0\.1 MB of weights and up to 0\.5 MB"):
        LocalReply(folder)
    assert not told
    monkeypatch.setattr(loading, "free_memory", lambda: 10**10)
    LocalReply(folder)
    assert "0.1 MB of weights" in told[0] and "10.0 GB of memory are free" in told[0]


def test_what_a_token_takes():
    config = small_llm.CONFIG
    assert token_bytes(config) == 2 * 2 * 2 * 2 * 8  # both, two bytes, layers, heads, numbers each
    assert token_bytes({"text_config": config}) == token_bytes(config) and token_bytes({}) == 0


def test_free_memory_is_not_what_the_system_merely_keeps_of_files():
    from dsm_mlx.runtime.device import free_memory

    if mx.metal.is_available():
        pytest.skip("of Linux")
    told = Path("/proc/meminfo").read_text().split()
    free = 1024 * int(told[told.index("MemFree:") + 1])
    assert free_memory() > 0.9 * free


def test_progress(llm):
    told = []
    LocalReply(llm(small_llm.TEMPLATE, seed=8), progress=lambda *news: told.append(news))
    assert told[-1] == (1.0, "loading the language model") and told == sorted(told)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"model_type": "nonsense"}, "mlx-lm cannot load it (Model type nonsense not supported.)"),
        ({"vocab_size": 99}, "mlx-lm cannot load it ("),
        ({"model_file": "own.py"}, "mlx-lm cannot load it ("),
    ],
)
def test_configs_that_are_wrong(tmp_path, wrong, told):
    folder = small_llm.make(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | wrong))
    (folder / "own.py").write_text("raise SystemExit('was run')")
    with pytest.raises(CheckpointError) as caught:
        LocalReply(folder)
    assert str(caught.value).startswith(f"{folder}: {told}") and "\n" not in str(caught.value)


def damaged(folder):
    (folder / "model.safetensors").write_bytes(b"nothing")


def infinite(folder):
    arrays = mx.load(str(folder / "model.safetensors"))
    arrays["lm_head.weight"] = arrays["lm_head.weight"] * mx.inf
    mx.save_safetensors(str(folder / "model.safetensors"), arrays)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damaged, "mlx-lm cannot load it"),
        (infinite, "the weight lm_head.weight is not finite"),
        (lambda folder: (folder / "config.json").write_text("{"), "not a readable JSON file"),
        (lambda folder: (folder / "config.json").unlink(), "has no file 'config.json'"),
        (lambda folder: (folder / "model.safetensors").unlink(), "has no weights"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "mlx-lm cannot load it"),
    ],
)
def test_files_that_are_wrong(tmp_path, damage, told):
    folder = small_llm.make(tmp_path / "m")
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        LocalReply(folder)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_that_knows_no_chat(llm):
    with pytest.raises(CheckpointError, match="has no chat template"):
        LocalReply(llm(None))


def test_names_that_are_no_model(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="no such folder"):
        LocalReply(tmp_path / "none")
    with pytest.raises(CheckpointError, match="not the name of a repository"):
        LocalReply("a b")
    with pytest.raises(TypeError, match="expected a folder or a name"):
        LocalReply(3)


# A repository of the hub in its cache, and a hub that cannot be asked.
CACHED = """
import sys
from dsm_mlx.chat.replies.local import LocalReply
from dsm_mlx.errors import CheckpointError
for name in ("owner/there", "owner/half"):
    try:
        reply = LocalReply(name, max_tokens=3, temperature=0)
        print(len(list(reply([{"role": "user", "content": "hi"}]))))
    except CheckpointError as error:
        print(error)
"""


def test_a_model_in_the_hubs_cache_needs_no_network(tmp_path, llm):
    for name in ("there", "half"):
        home = tmp_path / f"hub/models--owner--{name}"
        (home / "refs").mkdir(parents=True)
        (home / "refs/main").write_text("abc")
        snapshot = home / "snapshots/abc"
        small_llm.make(snapshot)
    (snapshot / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-2.safetensors"}}'
    )
    environment = {"HF_HOME": str(tmp_path), "HF_HUB_CACHE": str(tmp_path / "hub")}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", CACHED], env=environment, capture_output=True, text=True, timeout=60
    )
    lines = done.stdout.splitlines()
    assert lines[0] in ("1", "2", "3") and "owner/half: " in lines[1] and "reached" in lines[1]


@pytest.mark.parametrize(
    ("index", "told"),
    [("{", "not a readable JSON file"), ('{"weight_map": []}', "'weight_map' is [] (expected an")],
)
def test_an_index_in_the_cache_that_is_damaged_is_told(index, told, tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text(index)
    with pytest.raises(CheckpointError) as caught:
        loading._is_whole(tmp_path)
    assert told in str(caught.value) and str(tmp_path) in str(caught.value)


def test_an_index_that_names_no_file_is_of_no_whole_model(tmp_path):
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": ["b"]}}')
    assert not loading._is_whole(tmp_path)


def test_arguments_that_cannot_be(llm):
    for wrong in ({"temperature": -1}, {"max_tokens": 0}, {"context": 100}, {"seed": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            LocalReply(llm(), **wrong)


def test_without_mlx_lm_a_line_says_what_to_install(llm, monkeypatch):
    folder = llm(small_llm.TEMPLATE, seed=9)
    monkeypatch.setitem(sys.modules, "mlx_lm.utils", None)
    with pytest.raises(ValueError, match=r"pip install 'dsm-mlx\[chat\]'"):
        LocalReply(folder)


def test_nothing_of_it_is_imported_before_it_is_asked_for():
    code = (
        "import dsm_mlx.chat.replies.local, sys; print({'mlx_lm', 'transformers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
