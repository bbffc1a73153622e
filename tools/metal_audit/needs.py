"""What a primitive needs of Metal."""

from __future__ import annotations

from dataclasses import dataclass, field

import mlx.core as mx


@dataclass(frozen=True)
class Needs:
    """kernels: regular expressions, each of which a precompiled kernel's name must match. becomes:
    what runs, in a word. sources: names of libraries that MLX compiles from source when it first
    meets them. beside: kernels that run beside the one that `benchmark.graph` counts. problem: why
    this cannot run as it is, or None."""

    kernels: set[str] = field(default_factory=set)
    becomes: str = ""
    sources: set[str] = field(default_factory=set)
    beside: int = 0
    problem: str | None = None


def typed(dtype: mx.Dtype) -> str:
    """As `type_to_name` in mlx/backend/metal/utils.cpp."""
    name = str(dtype).removeprefix("mlx.core.")
    return "bool_" if name == "bool" else name


def named(dtype: mx.Dtype) -> str:
    """As `get_type_string` in mlx/backend/common/compiled.cpp."""
    name = str(dtype).removeprefix("mlx.core.")
    return {"float32": "float", "bfloat16": "bfloat16_t", "float16": "float16_t"}.get(name, name)
