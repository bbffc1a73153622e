"""The audit of one step: what each primitive becomes, and whether Metal has it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from benchmark.graph import compiled_kernels

from metal_audit.needs import Needs, typed
from metal_audit.products import attention_shape, scores_shape
from metal_audit.rules import needs_of
from metal_audit.trace import Array, Node, nodes


@dataclass
class Audit:
    """becomes: how often each primitive (its name, its types, what it becomes) occurs. kernels: the
    patterns that precompiled kernels must match, with the primitives that need them. attention: how
    often each shape of it occurs, see `products.attention_shape`, with what it becomes. beside:
    kernels that `benchmark.graph` does not count, by what they are for. fused: names of what
    `mx.compile` makes one kernel of; without the types, so that there may be more. sources: what
    else is compiled when first met. problems: what cannot run on Metal."""

    becomes: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    kernels: dict[str, set[str]] = field(default_factory=dict)
    attention: Counter[tuple] = field(default_factory=Counter)
    beside: Counter[str] = field(default_factory=Counter)
    fused: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)
    problems: set[str] = field(default_factory=set)

    def add(self, function: Callable, inputs: tuple) -> None:
        """Take up what `function` does with `inputs`, trees of arrays that need no values."""
        for node in nodes(function, inputs):
            self._take(node, needs_of(node))
        names, _ = compiled_kernels(function, *inputs)
        self.fused |= {name for name in names if name.startswith("Compiled")}

    def _take(self, node: Node, needs: Needs) -> None:
        types = ", ".join(dict.fromkeys(typed(a.dtype) for a in (*node.inputs, *node.outputs)))
        if needs.problem:
            self.problems.add(f"{node.name} of {types}: {needs.problem}")
            return
        if needs.beside:
            self.beside[f"{node.name}: {needs.becomes}"] += needs.beside
        if not node.is_view:
            self.becomes[node.name, types, needs.becomes] += 1
        for kernel in needs.kernels:
            self.kernels.setdefault(kernel, set()).add(node.name)
        self.sources |= needs.sources
        if node.name == "ScaledDotProductAttention":
            self.attention[(*attention_shape(node), needs.becomes)] += 1
        elif scores := scores_shape(node):
            self.attention[(*_unfused(*scores), "products and a softmax")] += 1

    def missing(self, names: Iterable[str]) -> set[str]:
        """The needed kernels that are not among `names`, those of a metallib."""
        return absent(self.kernels, names)


def absent(patterns: Iterable[str], names: Iterable[str]) -> set[str]:
    """The patterns that match none of `names`."""
    names = set(names)
    unknown = {pattern for pattern in patterns if pattern not in names}
    everything = "\n".join(sorted(names))
    return {p for p in unknown if not re.search(f"^{p}$", everything, re.MULTILINE)}


def _unfused(q: Array, k: Array) -> tuple:
    """As `products.attention_shape`; keys come as a transposed matrix, and a mask later."""
    return q.shape[1], q.shape[3], q.shape[2], k.shape[3], "any", typed(k.dtype)
