"""The audit for Metal: it finds what a step does, and what a Mac could not run.

The names of kernels are some that MLX 0.32.4 ships for macOS 15.
"""

import zipfile

import metal
import mlx.core as mx
import numpy as np
import pytest
from benchmark.graph import fuses, hollow
from metal_audit import layout, names
from metal_audit.audit import Audit, absent
from metal_audit.steps import of_shape

pytestmark = pytest.mark.skipif(not fuses(), reason="MLX fuses nothing here: g++ is missing")
LINEAR = hollow(mx.zeros((512, 512), mx.bfloat16))


def audited(function, *inputs) -> Audit:
    found = Audit()
    found.add(function, hollow(inputs))
    return found


def matched(found: Audit, shipped: str) -> bool:
    """Whether a kernel of this name is one that was looked for."""
    return len(absent(found.kernels, {shipped})) < len(found.kernels)


def metallib(*kernels: str) -> bytes:
    entries = (
        b"NAME%b%b\0TYPE" % ((len(k) + 1).to_bytes(2, "little"), k.encode()) for k in kernels
    )
    return b"MTLB" + b"".join(entries)


def test_a_step_of_one_row():
    scale = hollow(mx.zeros((512,), mx.bfloat16))

    def step(x, table, token):
        y = mx.fast.rms_norm(x, scale, 1e-5)
        return mx.addmm(x, y * 2 + 1, LINEAR.T), table[token], mx.argmax(y, axis=-1)

    x, table = mx.zeros((1, 512), mx.bfloat16), mx.zeros((10, 512), mx.bfloat16)
    found = audited(step, x, table, mx.zeros((1,), mx.int32))
    assert not found.problems
    assert {name for name, _, _ in found.becomes} >= {"RMSNorm", "AddMM", "Gather", "ArgReduce"}
    for shipped in (
        "rmsbfloat16",
        "gemv_bfloat16_bm4_bn1_sm1_sn32_tm4_tn4_nc0_axpby1",
        "argmax_bfloat16",
        "vv_Multiplybfloat16",
    ):
        assert matched(found, shipped), shipped
    assert found.sources == {"gather_frontbfloat16_int32_int_2"}
    assert len(found.fused) == 1


@pytest.mark.parametrize(
    ("step", "complaint"),
    [
        (lambda x: x.astype(mx.float64).sum(), "float64"),
        (lambda x: mx.linalg.qr(x, stream=mx.cpu)[1], "throws"),
        (lambda x: mx.sin(x), "does not know"),
        (lambda x: mx.put_along_axis(x.astype(mx.int64), x.astype(mx.int32), x, 0), "8 bytes"),
    ],
)
def test_what_a_mac_could_not_run(step, complaint):
    found = audited(step, mx.zeros((4, 4)))
    assert any(complaint in problem for problem in found.problems), found.problems


def test_a_kernel_that_does_not_ship_is_missed():
    found = audited(lambda x: mx.softmax(x @ LINEAR.T, axis=-1), mx.zeros((1, 512), mx.bfloat16))
    shipped = {
        "gemv_bfloat16_bm4_bn1_sm1_sn32_tm4_tn4_nc0_axpby0",
        "block_softmax_bfloat16",
    }
    assert not found.missing(shipped)
    assert found.missing(shipped - {"block_softmax_bfloat16"}) == {"block_softmax_bfloat16"}


@pytest.mark.parametrize(
    ("width", "bits", "shipped"),
    [
        (1024, 4, "affine_qmv_fast_bfloat16_t_gs_32_b_4_batch_0_pr_0_hgs_0_r_4"),
        (1024, 4, "affine_qmv_fast_bfloat16_t_gs_32_b_4_batch_0"),  # of 0.30
        (768, 4, "affine_qmv_bfloat16_t_gs_32_b_4_batch_0_pr_0_hgs_0_r_4"),
        (768, 8, "affine_qmv_fast_bfloat16_t_gs_32_b_8_batch_0_pr_0_hgs_0_r_4"),
        (64, 4, "affine_qmv_quad_bfloat16_t_gs_32_b_4_d_64_batch_0"),
    ],
)
def test_packed_weights(width, bits, shipped):
    weights = hollow(mx.quantize(mx.zeros((512, width), mx.bfloat16), 32, bits))

    def step(x):
        return mx.quantized_matmul(x, *weights, group_size=32, bits=bits)

    assert not audited(step, mx.zeros((1, width), mx.bfloat16)).missing({shipped})


@pytest.mark.parametrize(
    ("width", "queries", "becomes", "copies"),
    [
        (64, 1, "sdpa_vector, 64 wide, float", 0),
        (64, 2, "sdpa_vector, 64 wide, float", 1),
        (32, 1, "products and a softmax", 0),
    ],
)
def test_attention(width, queries, becomes, copies):
    def step(x, keys):
        q = x.reshape(1, queries, 4, width).swapaxes(1, 2)
        return mx.fast.scaled_dot_product_attention(q, keys, keys, scale=1.0)

    found = audited(step, mx.zeros((1, queries, 4 * width)), mx.zeros((1, 4, 100, width)))
    assert [at[-1] for at in found.attention] == [becomes]
    assert [at[:4] for at in found.attention] == [(4, width, queries, 100)]
    assert sum(found.beside.values()) == copies


@pytest.mark.parametrize(("length", "kernels"), [(2048, 1), (2049, 4), (8000, 6)])
def test_a_partition_is_a_sort(length, kernels):
    found = audited(lambda x: mx.partition(x, 5, axis=-1), mx.zeros((1, length)))
    assert 1 + sum(found.beside.values()) == kernels


@pytest.mark.parametrize(
    "view",
    [
        lambda x: x.T.reshape(-1),
        lambda x: x.T.reshape(6, 2, 4),
        lambda x: x[:, :3].reshape(-1),
        lambda x: x[:, None, :3].reshape(8, 1, 3),
        lambda x: x.reshape(4, 2, 6).transpose(1, 0, 2).reshape(8, 6),
        lambda x: x.reshape(1, 8, 6).transpose(1, 0, 2).reshape(8, 6),
    ],
)
def test_a_reshape_is_a_copy_where_numpy_copies_too(view):
    x = np.zeros((8, 6), np.float32)
    found = audited(view, mx.array(x))
    assert bool(found.beside) == (not np.shares_memory(view(x), x))


def test_overlapping_windows_are_read_in_place():
    """As the codec's convolutions read theirs: rows 4 apart, of 8."""
    shape, strides = layout.rows((1, 10, 2, 4)), (40, 4, 4, 1)
    assert shape == (80, 8, 4, 1)
    flat = layout.of_view("Reshape", (), ((1, 10, 2, 4), strides), (10, 8))
    assert flat == (4, 1)


def test_names_of_a_library_and_of_a_wheel(tmp_path):
    library, wheel = tmp_path / "mlx.metallib", tmp_path / "a.whl"
    library.write_bytes(metallib("rmsfloat32", "v_Expfloat32float32"))
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(library, "mlx/lib/mlx.metallib")
    assert names.of_metallib(library) == {"rmsfloat32", "v_Expfloat32float32"}
    assert names.of_wheel(wheel) == names.of_metallib(library)


def test_files_that_are_none(tmp_path, capsys):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"NAME" * 9)
    with pytest.raises(ValueError, match="not a Metal library"):
        names.of_metallib(wrong)
    with pytest.raises(ValueError, match="not a wheel of mlx-metal"):
        names.of_wheel(wrong)
    assert metal.main(["tiny", "--wheel", str(wrong)]) == 1
    assert "not a wheel" in capsys.readouterr().err


def test_the_models_of_the_package(tmp_path, capsys):
    assert metal.main(["tiny"]) == 0
    printed = capsys.readouterr().out
    assert "not checked: whether the kernels ship" in printed
    assert "Nothing is wrong." in printed
    library = tmp_path / "mlx.metallib"
    library.write_bytes(metallib("rmsfloat32"))
    assert metal.main(["tiny", "--metallib", str(library)]) == 1
    assert "tiny: no kernel argmax_float32 (ArgReduce)" in capsys.readouterr().out


def test_speech_of_an_official_shape():
    """The widths that have a kernel of their own, for a frame of speech."""
    found = of_shape("tts-0.75b", 4)
    assert not found.problems
    assert {at[1] for at in found.attention} == {64}
