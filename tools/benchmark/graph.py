"""What a step asks of a device: kernels and bytes, read off its graph. Nothing is computed.

A kernel is a node of the graph that is no view. What MLX has one kernel for on a GPU and several on
a CPU (norms, rotary positions, attention, dequantising) stands as one node here, whatever this
machine is, and a concatenation is as many copies as it has parts.
"""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx.utils import tree_flatten, tree_map

VIEWS = {
    "AsStrided", "Broadcast", "BroadcastAxes", "Copy", "Depends", "ExpandDims", "Flatten",
    "Reshape", "Slice", "Split", "Squeeze", "StopGradient", "Transpose", "Unflatten",
}  # fmt: skip
_FUSED = {
    "Abs", "Add", "AsType", "BitwiseBinary", "Divide", "Equal", "Erf", "Exp", "Expm1",
    "Greater", "GreaterEqual", "Less", "LessEqual", "Log", "LogicalAnd", "LogicalNot", "LogicalOr",
    "Maximum", "Minimum", "Multiply", "Negative", "NotEqual", "Remainder", "Rsqrt", "Select",
    "Sigmoid", "Sqrt", "Square", "Subtract",
}  # fmt: skip
_NODE = re.compile(r"^\{ (\d+) \[label =\"([^\"]+)\"", re.MULTILINE)
_EDGE = re.compile(r"^\"([A-Z]+)\" -> (\d+)$", re.MULTILINE)
_TIMES = 20
# Heads that Metal has a kernel for, of at most 8 queries; see docs/metal.md.
ATTENTION_WIDTHS = (64, 96, 128, 256)


@dataclass
class Counts:
    """kernels: of the compiled graph, by the name of the node; raw: how many without compiling.
    copies: writes into a part of an array that is read elsewhere, too: Metal copies it first.
    read, written: bytes of what is no element-wise kernel. seconds: to put the compiled step
    together, on the host. waits: how often the host waits for the device in it."""

    kernels: Counter[str] = field(default_factory=Counter)
    raw: int = 0
    copies: int = 0
    read: int = 0
    written: int = 0
    seconds: float = 0.0
    waits: int = 0

    @property
    def compiled(self) -> int:
        return sum(self.kernels.values())

    def __add__(self, other: Counts) -> Counts:
        return self._with(other, 1)

    def __sub__(self, other: Counts) -> Counts:
        return self._with(other, -1)

    def _with(self, other: Counts, sign: int) -> Counts:
        kernels = Counter(self.kernels)
        for name, number in other.kernels.items():
            kernels[name] += sign * number
        rest = [
            getattr(self, field.name) + sign * getattr(other, field.name)
            for field in fields(self)[1:]
        ]
        return Counts(kernels, *rest)


def hollow(tree):
    """The same tree of arrays that take no memory and have no values of their own."""
    return tree_map(_hollow, tree)


def _hollow(array: mx.array) -> mx.array:
    empty = mx.broadcast_to(mx.zeros((), array.dtype), array.shape)
    mx.eval(empty)
    return empty


def count(function: Callable, *inputs) -> Counts:
    """The graph of `function`, of trees of arrays to trees of arrays."""
    flat = [array for _, array in tree_flatten(inputs)]
    kernels, copies = compiled_kernels(function, *inputs)
    with kernels_of_a_gpu():
        compiled = mx.compile(function)
        compiled(*inputs)
        start = time.perf_counter()
        for _ in range(_TIMES):
            compiled(*inputs)
        seconds = (time.perf_counter() - start) / _TIMES
        raw, read, written = _traced(function, inputs, flat)
    return Counts(kernels, raw, copies, read, written, seconds)


def compiled_kernels(function: Callable, *inputs) -> tuple[Counter[str], int]:
    """The kernels of the compiled graph of `function`; see `Counts`.

    OSError where MLX fuses none.
    """
    if not fuses():
        raise OSError(
            "kernels are counted as MLX fuses them, which on a CPU needs g++ (apt install g++)"
        )
    with kernels_of_a_gpu():
        return _nodes(mx.compile(function)(*inputs))


def fuses() -> bool:
    """Whether `mx.compile` fuses kernels here: on a CPU it calls g++ for that."""
    return mx.default_device().type == mx.DeviceType.gpu or shutil.which("g++") is not None


def _nodes(outputs) -> tuple[Counter[str], int]:
    """Kernels by name, and how many of them write into what is read elsewhere."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph"
        mx.export_to_dot(str(path), *(array for _, array in tree_flatten(outputs)))
        text = path.read_text()
    inputs: dict[str, list[str]] = {}
    for array, node in _EDGE.findall(text):
        inputs.setdefault(node, []).append(array)
    readers = Counter(array for arrays in inputs.values() for array in arrays)
    found: Counter[str] = Counter()
    copies = 0
    for node, name in _NODE.findall(text):
        if name not in VIEWS:
            found[name] += len(inputs[node]) if name == "Concatenate" else 1
        if name.startswith("SliceUpdate"):
            copies += readers[inputs[node][0]] > 1
    return found, copies


def _traced(function: Callable, inputs, flat: list[mx.array]) -> tuple[int, int, int]:
    """Kernels before anything is fused, and the bytes that they read and write: of a gather and a
    scatter only what is moved, not all that they choose from."""
    raw = read = written = 0

    def node(known: dict) -> None:
        nonlocal raw, read, written
        name = known.get("name")
        if name is None or name in VIEWS:
            return
        raw += len(known["inputs"]) if name == "Concatenate" else 1
        if name in _FUSED:
            return
        out = sum(map(_size, known["outputs"]))
        if name.startswith("Gather"):
            read, written = read + out, written + out
        elif name.startswith(("Scatter", "SliceUpdate")):
            new = _size(known["inputs"][-1] if name.startswith("Scatter") else known["inputs"][1])
            read, written = read + new, written + new
        else:
            read, written = read + sum(map(_size, known["inputs"])), written + out

    def of_arrays(*arrays):
        rest = iter(arrays)
        return [a for _, a in tree_flatten(function(*tree_map(lambda _: next(rest), inputs)))]

    mx.export_function(node, of_arrays, *flat)
    return raw, read, written


def _size(known: tuple) -> int:
    _, shape, dtype = known
    size = dtype.size
    for length in shape:
        size *= length
    return size


@contextmanager
def kernels_of_a_gpu(calls: list[tuple[str, dict]] | None = None) -> Iterator[None]:
    """What has a kernel of its own on a GPU becomes one node; see `call_of`.

    calls: takes the name and the options of each that stands in the graph.
    """
    calls = [] if calls is None else calls

    def one(name: str, x: mx.array, rest: list, **options) -> mx.array:
        # Nothing of ours sorts: that node stands for the kernel that this device lacks. What it
        # depends on last says by its shape which call it is.
        calls.append((name, options))
        which = mx.array(np.zeros((0, len(calls)), np.float32))
        return mx.sort(mx.depends(x, [array for array in [*rest, which] if array is not None]))

    def rms_norm(x, weight, eps) -> mx.array:
        return one("RMSNorm", x, [weight])

    def layer_norm(x, weight, bias, eps) -> mx.array:
        return one("LayerNorm", x, [weight, bias])

    def rope(x, dims, *, offset, **_) -> mx.array:
        return one("RoPE", x, [offset if isinstance(offset, mx.array) else mx.array(offset)])

    def attention(q, k, v, *, scale, mask=None) -> mx.array:
        if q.shape[-1] not in ATTENTION_WIDTHS:  # a GPU has several, too
            return kept[mx.fast, "scaled_dot_product_attention"](q, k, v, scale=scale, mask=mask)
        return one("ScaledDotProductAttention", q, [k, v, mask])

    def dequantize(
        w, scales, biases=None, *, group_size, bits, mode="affine", dtype=None
    ) -> mx.array:
        shape = (*w.shape[:-1], w.shape[-1] * 32 // bits)
        rows = mx.broadcast_to(scales[..., :1].astype(dtype or scales.dtype), shape)
        return one("Dequantize", rows, [w, biases], group_size=group_size, bits=bits, mode=mode)

    names = {
        (mx.fast, "rms_norm"): rms_norm,
        (mx.fast, "layer_norm"): layer_norm,
        (mx.fast, "rope"): rope,
        (mx.fast, "scaled_dot_product_attention"): attention,
        (mx, "dequantize"): dequantize,
    }
    kept = {at: getattr(*at) for at in names}
    try:
        for at, ours in names.items():
            setattr(*at, ours)
        yield
    finally:
        for at, theirs in kept.items():
            setattr(*at, theirs)
