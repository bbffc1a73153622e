"""What models hold is counted without allocating it; the tables of docs/memory.md are that."""

from pathlib import Path

import mlx.core as mx
import pytest
from benchmark import counts, memory, models
from test_bench import bench

import dsm_mlx
from dsm_mlx.lm.sampling import row_keys
from dsm_mlx.loading import core as loading
from dsm_mlx.runtime.rows import tree_bytes
from dsm_mlx.stt.step import SttStep
from dsm_mlx.tts.step import TtsStep

DOCS = Path(__file__).parents[1] / "docs/memory.md"


def test_the_tables_of_the_docs_are_what_the_command_prints():
    printed = bench("--memory").stdout
    tables = printed.strip().split("\n\n")
    assert len(tables) == 3
    assert all(f"\n{table}\n" in DOCS.read_text() for table in tables)


def test_every_official_shape_is_told():
    assert set(memory.MODELS) == {name for name in models.NAMES if not name.endswith("small")}


@pytest.mark.parametrize(
    ("name", "bits", "cache"),
    [
        ("stt-small", None, "bfloat16"),
        ("stt-small", 4, "q8"),
        ("tts-small", None, "q8"),
        ("tts-small", 4, "bfloat16"),
    ],
)
def test_what_is_told_is_what_is_allocated(name, bits, cache, monkeypatch):
    told = memory.needs(name, bits)[cache]
    monkeypatch.setenv("DSM_MLX_COMPILE", "1")  # as on a GPU: tables are made
    lm = models.random_lm(name, bits, "bfloat16", cache)
    if name.startswith("stt"):
        mimi = counts.codec(lm.config.n_q, encoder=True)
        state = SttStep(lm, mimi).init_state()
    else:
        mimi = counts.codec(lm.config.dep_q, encoder=True, decoder=True)
        conditions = {"temperature": mx.zeros((1,)), "padding_bonus": mx.zeros((1,))}
        state = TtsStep(lm, mimi).init_state(conditions, row_keys([0]))
    assert told.model == models.size(lm) + models.size(mimi)
    mx.eval(lm.parameters())
    before = mx.get_active_memory()
    mx.eval(state)
    mx.synchronize()
    assert tree_bytes(state) == told.stream
    # Arrays begin at whole pages; a few bytes were there before.
    assert mx.get_active_memory() - before == pytest.approx(told.stream, rel=0.02)


def test_a_loaded_model_allows_what_its_free_memory_does(small, monkeypatch):
    """The brackets of the table come from the rule that loading uses."""
    row = dsm_mlx.load_stt(small("stt-tiny"), max_streams=1)._core.row_bytes()
    for streams in (1, 2, 4, 8, 16):
        for free, allowed in ((4 * streams * row, streams), (4 * streams * row - 1, streams // 2)):
            monkeypatch.setattr(loading, "free_memory", lambda free=free: free)
            assert dsm_mlx.load_stt(small("stt-tiny")).max_streams == max(1, allowed)
    monkeypatch.setattr(loading, "free_memory", lambda: 10**15)
    assert dsm_mlx.load_stt(small("stt-tiny")).max_streams == 16


@pytest.mark.parametrize("bits", memory.BITS)
@pytest.mark.parametrize("name", memory.MODELS)
def test_bandwidth_is_the_bound_before_memory(name, bits):
    """As docs/memory.md says."""
    for needs in memory.needs(name, bits).values():
        for size, speed in ((16, 120), (32, 200), (64, 400), (128, 800)):
            assert needs.in_real_time(1e9 * speed) < needs.fit(memory.usable(size))


def test_what_fits_and_what_keeps_up_by_hand():
    gigabyte = 10**9
    needs = memory.Needs(gigabyte, {"rings": 90 * 10**6, "codec": 10**7}, 10**8, gigabyte)
    kept = 256 << 20
    assert needs.stream == 10**8
    assert needs.fit(gigabyte + 10**8 + kept + 7 * 10**8) == 7
    assert needs.fit(gigabyte) == 0
    assert needs.by_default(gigabyte + 32 * 10**8) == 8
    assert needs.a_frame(16) == gigabyte + 16 * 10**8
    # 12.5 frames a second of 1 GB and three streams' 0.3 GB
    assert needs.in_real_time(12.5 * 1.3 * gigabyte) == 3
    assert needs.in_real_time(12.4 * gigabyte) == 0
    assert memory.usable(16) == (16 << 30) * 2 // 3 and memory.usable(64) == 48 << 30


def test_of_one_shape():
    done = bench("--random", "stt-small", "--count").stdout
    assert "a stream, cache q8" in done and "rings" in done


def test_of_one_model_is_asked_for_otherwise():
    assert "--count" in bench("tiny", "--memory", status=2).stderr


def test_a_young_stream_reads_a_part_of_its_rings():
    lm = counts.language_model("stt-1b", 4)
    _, state = counts.listener(lm)
    whole, rings = tree_bytes(state), tree_bytes(state["lm"]["rings"])
    read = [models.read_of_row(lm, state, positions) for positions in (1, 192, 193, 384, 385, None)]
    quarter, half = (whole - rings + rings * slots // 750 for slots in (192, 384))
    assert read == [quarter, quarter, half, half, whole, whole]
