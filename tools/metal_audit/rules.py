"""What each primitive becomes on Metal, after `eval_gpu` in mlx/backend/metal and mlx/backend/gpu.

A primitive that no rule knows is a problem: it has to be looked up before it may be used. MLX never
falls back to the CPU by itself; what has no Metal kernel throws when it is evaluated.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import mlx.core as mx

from metal_audit.needs import Needs, named, typed
from metal_audit.products import attention, product, quantized
from metal_audit.trace import Node

# primitives.cpp: these throw.
THROWS = {
    "Cholesky", "Eig", "Eigh", "Inverse", "Load", "LUF", "QRF", "SVD",
    "ScaledDotProductAttentionVJP",
}  # fmt: skip
_UNARY = {
    "Abs", "Erf", "Exp", "Expm1", "LogicalNot", "Negative", "Sigmoid", "Square",
}  # fmt: skip
_BINARY = {
    "Add", "Divide", "Equal", "FloorDivide", "Greater", "GreaterEqual", "Less", "LessEqual",
    "LogicalAnd", "LogicalOr", "Maximum", "Minimum", "Multiply", "NotEqual", "Remainder",
    "Subtract",
}  # fmt: skip
_BITWISE = ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "LeftShift", "RightShift")
_LOGS = ("Log2", "Log10", "Log")
_REDUCTIONS = ("and", "or", "sum", "prod", "min", "max")
# defines.h and normalization.cpp: widths above which a row is read in a loop.
_RMS_LOOPED, _LAYER_NORM_LOOPED, _SOFTMAX_LOOPED = 4096, 6656, 4096
_PLAIN_UPDATE = 4  # of `SliceUpdate::ReduceType`: nothing is added up


def needs_of(node: Node) -> Needs:
    """What a primitive needs, the types that it works on included."""
    for array in (*node.inputs, *node.outputs):
        if array.dtype == mx.float64:
            return Needs(problem="float64, which Metal does not have")
    if node.name in THROWS:
        return Needs(problem="throws on Metal: there is no kernel")
    if node.is_view:
        if not node.copied:
            return Needs()
        copies = _copy(node, "g1_copy", "g2_copy", "g3_copy", "gn2_copy")
        return Needs(copies, "a copy, of what does not lie in rows", beside=1)
    if node.name in _UNARY or node.name == "Log":
        return _unary(node)
    if node.name in _BINARY or node.name == "BitwiseBinary":
        return _binary(node)
    rule = _RULES.get(node.name)
    return rule(node) if rule else Needs(problem="a primitive that this audit does not know")


def _copy(node: Node, *starts: str) -> set[str]:
    source = node.inputs[0] if node.inputs else node.outputs[0]
    return {f"{start}{typed(source.dtype)}{typed(node.outputs[0].dtype)}" for start in starts}


def _unary(node: Node) -> Needs:
    name = _LOGS[int(node.arguments[0])] if node.name == "Log" else node.name
    kind = typed(node.inputs[0].dtype) + typed(node.outputs[0].dtype)
    return Needs({f"v_{name}{kind}", f"gn1_{name}{kind}"}, "element-wise, fused if it has company")


def _binary(node: Node) -> Needs:
    name = _BITWISE[node.arguments[0]] if node.name == "BitwiseBinary" else node.name
    if node.name == "Equal" and node.arguments[0]:
        name = "NaNEqual"
    kind = typed(node.inputs[0].dtype)
    kernels = {f"{start}_{name}{kind}" for start in ("ss", "sv", "vs", "vv", "g1", "g3", "gn2")}
    return Needs(kernels, "element-wise, fused if it has company")


def _select(node: Node) -> Needs:
    kind = typed(node.inputs[1].dtype)
    kernels = {f"{start}_Select{kind}" for start in ("v", "g1", "g3", "gn2")}
    return Needs(kernels, "element-wise, fused if it has company")


def _as_type(node: Node) -> Needs:
    return Needs(_copy(node, "v_copy", "g1_copy"), "element-wise, fused if it has company")


def _full(node: Node) -> Needs:
    return Needs(_copy(node, "s_copy"), "s_copy: a kernel for a constant")


def _arange(node: Node) -> Needs:
    return Needs({f"arange{typed(node.outputs[0].dtype)}"}, "arange: a kernel for a constant")


def _concatenate(node: Node) -> Needs:
    copies = _copy(node, "gg1_copy", "gg3_copy", "ggn2_copy")
    return Needs(copies, "a copy of each part")


def _slice_update(node: Node) -> Needs:
    if node.arguments[0] != _PLAIN_UPDATE:
        return Needs(problem="a slice update that adds up, which this audit does not know")
    copies = _copy(node, "gg1_copy", "gg3_copy", "ggn2_copy", "v_copy")
    return Needs(copies, "a copy into place, and of the rest unless that is given away")


def _gather(node: Node) -> Needs:
    source, *indices = node.inputs
    axes, sizes = node.arguments
    kind, index = typed(source.dtype), typed(indices[0].dtype) if indices else ""
    rows = len(indices) == 1 and list(axes) == [0] and tuple(sizes[1:]) == source.shape[1:]
    if rows:
        each = 2 if prod(sizes[1:]) > 8 and source.dtype.size < 4 else 1
        name = f"gather_front{kind}_{index}_int_{each}"
    else:
        name = f"gather{kind}{index}_{len(indices)}_{len(indices[0].shape)}_int"
    return Needs(becomes="gather", sources={name})


def _along_axis(start: str) -> Callable[[Node], Needs]:
    def rule(node: Node) -> Needs:
        source, index = node.inputs[:2]
        if start == "scatter_axis" and source.dtype.size == 8:
            return Needs(problem=f"{start} of 8 bytes, which throws on Metal")
        end = "_none_int" if start == "scatter_axis" else "_int"
        name = f"{start}{typed(source.dtype)}{typed(index.dtype)}{end}"
        copies = _copy(node, "v_copy") if start == "scatter_axis" else set()
        return Needs(copies, start, {name})

    return rule


def _dynamic(node: Node) -> Needs:
    index = typed(node.inputs[-1].dtype)
    kernels = _copy(node, "gg1_dynamic_copy", "gg3_dynamic_copy", "ggn2_dynamic_copy")
    source = f"compute_dynamic_offset_{index}"
    return Needs(kernels, "an offset, then a copy into or out of place", {source}, beside=1)


def _sort(node: Node) -> Needs:
    """Both a sort and a partition sort all of it: in one kernel up to a block, else merging."""
    array = node.inputs[0]
    axis = node.arguments[-1]
    length, kind = array.shape[axis], typed(array.dtype)
    lanes = (length + 3) // 4
    block = next((width for width in (32, 64, 128, 256) if lanes <= width), 512)
    blocks = -(-length // (4 * block))
    if blocks == 1:
        name = f"n?c_block_sort_{kind}_{kind}_bn{block}_tn4"
        return Needs({name}, f"a sort of {length} in one block")
    starts = ("sort", "partition", "merge")
    kernels = {f"{start}_mbsort_{kind}_uint32_bn{block}_tn4" for start in starts}
    merges = (blocks - 1).bit_length()
    becomes = f"a sort of {length} in {blocks} blocks"
    return Needs(kernels | _copy(node, "v_copy"), becomes, beside=1 + 2 * merges)


def _reduce(node: Node) -> Needs:
    name, kind = _REDUCTIONS[node.arguments[0]], typed(node.inputs[0].dtype)
    if name in ("sum", "prod") and kind == "bool_":
        kind = "int8"
    kernels = {
        f"{start}_{name}{kind}"
        for start in (
            "all_reduce",
            "row_reduce_simple",
            "row_reduce_small_1_reduce",
            "row_reduce_looped_1_reduce",
            "col_reduce_small_1_reduce",
            "col_reduce_looped_1_32_32_reduce",
            "col_reduce_longcolumn_1_reduce",
        )
    }
    return Needs(kernels, f"{name}, by rows or columns")


def _arg_reduce(node: Node) -> Needs:
    name = ("argmin", "argmax")[node.arguments[0]]
    return Needs({f"{name}_{typed(node.inputs[0].dtype)}"}, name)


def _norm(start: str, limit: int) -> Callable[[Node], Needs]:
    def rule(node: Node) -> Needs:
        looped = "_looped" if node.inputs[0].shape[-1] > limit else ""
        name = f"{start}{looped}{typed(node.outputs[0].dtype)}"
        return Needs({name}, f"{start}{looped}, a row at a time")

    return rule


def _softmax(node: Node) -> Needs:
    source = node.inputs[0]
    start = "looped" if source.shape[-1] > _SOFTMAX_LOOPED else "block"
    (precise,) = node.arguments if node.name == "Softmax" else (False,)
    middle = "precise_" if precise and source.dtype != mx.float32 else ""
    name = f"{start}_{node.name.lower()}_{middle}"
    return Needs({f"{name}{typed(node.outputs[0].dtype)}"}, f"{name.strip('_')}, a row at a time")


def _rope(node: Node) -> Needs:
    x, offset = node.inputs
    single = x.shape[-2] == 1 and prod(offset.shape) == 1
    name = f"rope_{'single_' if single else ''}{typed(x.dtype)}"
    return Needs({name}, "rope, one offset" if single else "rope, an offset for each row")


def _dequantize(node: Node) -> Needs:
    options = node.arguments
    kind = named(node.outputs[0].dtype)
    name = f"affine_dequantize_{kind}_gs_{options['group_size']}_b_{options['bits']}"
    if options["mode"] != "affine":
        return Needs(problem=f"packed in mode {options['mode']}, which this audit does not know")
    return Needs({name}, "dequantize")


def _random_bits(node: Node) -> Needs:
    return Needs({"rbits", "rbitsc"}, "random bits")


_RULES: dict[str, Callable[[Node], Needs]] = {
    "AddMM": product,
    "Arange": _arange,
    "ArgReduce": _arg_reduce,
    "AsType": _as_type,
    "Concatenate": _concatenate,
    "Dequantize": _dequantize,
    "DynamicSlice": _dynamic,
    "DynamicSliceUpdate": _dynamic,
    "Full": _full,
    "Gather": _gather,
    "GatherAxis": _along_axis("gather_axis"),
    "LayerNorm": _norm("layer_norm", _LAYER_NORM_LOOPED),
    "LogSumExp": _softmax,
    "Matmul": product,
    "Partition": _sort,
    "QuantizedMatmul": quantized,
    "RMSNorm": _norm("rms", _RMS_LOOPED),
    "RandomBits": _random_bits,
    "Reduce": _reduce,
    "RoPE": _rope,
    "ScaledDotProductAttention": attention,
    "ScatterAxis": _along_axis("scatter_axis"),
    "Select": _select,
    "SliceUpdate": _slice_update,
    "Softmax": _softmax,
    "Sort": _sort,
}
