"""Which kernels of Metal's a product or an attention needs, by its sizes.

After MLX's mlx/backend/metal: matmul.cpp (`Matmul::eval_gpu`, `gemv_axbpy`), quantized.cpp
(`QuantizedMatmul::eval_gpu`, `dispatch_qmv`, `qmv`), scaled_dot_product_attention.cpp (`eval_gpu`).
Names are regular expressions: what depends on the machine is left open.
"""

from __future__ import annotations

from math import prod

from benchmark.graph import ATTENTION_WIDTHS

from metal_audit.needs import Needs, named, typed
from metal_audit.trace import Array, Node

_VECTOR = 8  # queries, above which attention has another kernel
_TWO_PASSES = 1024  # keys, from which a Max or Ultra reads them in two passes
_QUADS = (64, 128)  # inner widths that a quantised product has a kernel of its own for
_MOST_TILES = 1024  # of 16 by 16 outputs, up to which long sums are split; twice that on a Max
_SPLIT = 1024  # inner width, from which a product with values of a packed cache is split


def product(node: Node) -> Needs:
    """A matrix product or `addmm`. One row, or one column, is a gemv; more are a gemm."""
    a, b = node.inputs[:2]
    m, k, n = a.shape[-2], a.shape[-1], b.shape[-1]
    plus = int(node.name == "AddMM")
    kind = typed(node.outputs[0].dtype)
    copies = _copied(a, m == 1) + _copied(b, n == 1)
    if min(m, n) > 1:
        letters = "".join("t" if x.transposed else "n" for x in (a, b))
        needs = {f"steel_gemm_fused_{letters}_{kind}_{kind}_bm.*", *_split(letters, kind, plus)}
        tiles = -(-m // 16) * -(-n // 16)
        if tiles <= _MOST_TILES and k >= max(128, m, n) and prod(node.outputs[0].shape) == m * n:
            return Needs(needs, f"gemm in parts of a sum, {letters}, {kind}", beside=1 + copies)
        return Needs(needs, f"gemm, {letters}, {kind}", beside=copies)
    if n != 1:
        transposed, outputs = not b.transposed, n
    else:
        transposed, outputs = a.transposed, m
    shape = _gemv_t(k, outputs) if transposed else _gemv(k, outputs)
    name = f"gemv_{'t_' if transposed else ''}{kind}_{shape}_nc[01]_axpby{plus}"
    return Needs({name}, f"gemv{' (by columns)' if transposed else ''}, {kind}", beside=copies)


def _copied(matrix: Array, vector: bool) -> bool:
    """As `check_transpose`: rows or columns may lie apart, or overlap, unless there is one."""
    (rows, columns), (down, across) = matrix.shape[-2:], matrix.strides[-2:]
    by_rows = across == 1 and (not vector or down == columns)
    return not by_rows and not (down == 1 and (not vector or across == rows))


def _split(letters: str, kind: str, plus: int) -> set[str]:
    """A long sum of few outputs is cut into parts, which a second kernel adds."""
    end = "_axbpy" if plus else ""
    return {
        f"steel_gemm_splitk_{letters}_{kind}_float32_bm.*",
        f"steel_gemm_splitk_accum_{kind}_float32{end}",
    }


def _gemv(k: int, outputs: int) -> str:
    rows, columns, lanes = (8 if outputs >= 4096 else 4), 1, "sm1_sn32"
    if k <= 64:
        rows, lanes = 1, "sm8_sn4"
    elif k >= 16 * outputs:
        rows, columns = 1, 8
    return f"bm{rows}_bn{columns}_{lanes}_tm{1 if outputs < 4 else 4}_tn4"


def _gemv_t(k: int, outputs: int) -> str:
    lanes = "sm4_sn8" if k >= 8192 and outputs >= 2048 else "sm8_sn4"
    columns = 16 if outputs >= 2048 else 4 if outputs >= 512 else 2
    return f"bm1_bn{columns}_{lanes}_tm4_tn{1 if outputs < 4 else 4}"


def quantized(node: Node) -> Needs:
    """A product with packed weights or a packed cache; of one row."""
    x, w = node.inputs[:2]
    group, bits, mode, transpose = node.arguments
    if mode != 0:
        return Needs(problem=f"packed in mode {mode}, which this audit does not know")
    k, n = x.shape[-1], node.outputs[0].shape[-1]
    plain = len(w.shape) == 2
    rows = prod(x.shape) // k if plain else x.shape[-2]
    many = int(prod(node.outputs[0].shape) // (rows * n) > 1)
    end = f"{named(x.dtype)}_gs_{group}_b_{bits}"
    sizes = f"{named(x.dtype)}, {bits} bits in groups of {group}"
    if rows != 1:
        return Needs(problem=f"{rows} rows of a packed product, which this audit does not know")
    if not transpose:
        if k < _SPLIT:
            return Needs({f"affine_qvm_{end}_batch_{many}"}, f"qvm, {sizes}")
        return Needs({f"affine_qvm_split_k_{end}_spk_(8|32)"}, f"qvm, split, {sizes}")
    if k in _QUADS and bits in (2, 4, 8):
        return Needs({f"affine_qmv_quad_{end}_d_{k}_batch_{many}"}, f"qmv_quad, {sizes}")
    step = 32 // bits * (1 if bits == 2 else 2) * 32
    fast = "_fast" if n % 8 == 0 and k % step == 0 else ""
    # MLX from 0.32.3 on says more in the name, which for these modes is always the same.
    return Needs({f"affine_qmv{fast}_{end}_batch_{many}(_pr_0_hgs_0_r_4)?"}, f"qmv{fast}, {sizes}")


def attention(node: Node) -> Needs:
    """Attention that is one node: a head's width that has a kernel, few queries."""
    q, k = node.inputs[:2]
    width, kind = q.shape[-1], named(q.dtype)
    if q.shape[2] > _VECTOR or width not in ATTENTION_WIDTHS:
        return Needs(problem=f"attention of {q.shape[2]} queries of width {width}")
    needs = {f"sdpa_vector_{kind}_{width}_{width}"}
    if k.shape[2] >= _TWO_PASSES:
        needs |= {
            f"sdpa_vector_2pass_1_{kind}_{width}_{width}",
            f"sdpa_vector_2pass_2_{kind}_{width}",
        }
    # Heads may lie apart, but queries that do not follow each other are copied.
    beside = 0 if q.in_rows else 1
    return Needs(needs, f"sdpa_vector, {width} wide, {kind}", beside=beside)


def attention_shape(node: Node) -> tuple:
    """heads, width, queries, keys, the mask's type or "no", the type of keys: for a table."""
    q, k, _, *mask = node.inputs
    masked = typed(mask[0].dtype).strip("_") if mask else "no"
    return q.shape[1], q.shape[3], q.shape[2], k.shape[2], masked, typed(k.dtype)


def scores_shape(node: Node) -> tuple[Array, Array] | None:
    """Queries and keys of a product that is a step of an attention without a kernel of its own."""
    if node.name != "Matmul" or len(node.inputs[0].shape) != 4 or not node.inputs[1].transposed:
        return None
    return node.inputs[0], node.inputs[1]
