"""The language model's parameters and the tensors of the published files, in both layouts.

Parameters are named as in the MLX layout, except where one array serves a step better than many:
`audio_emb` and `extra_heads` join the tables of all codebooks and heads, and cross-attention
keeps its queries apart from its keys and values.
"""

from __future__ import annotations

from dataclasses import replace

from mlx.utils import tree_flatten

from dsm_mlx.files.weight_map import Group, Shapes, WeightMap, join, rename, reshape, split
from dsm_mlx.lm import depth_layout
from dsm_mlx.lm.model import MultistreamLM

_DEPTH = "depformer."

# File names of what the parameters join, by layout.
_JOINED = {
    "mlx": {"audio_emb": "audio_embs.{}", "extra_heads": "extra_heads.{}"},
    "pytorch": {"audio_emb": "emb.{}", "extra_heads": "extra_heads.{}"},
}


def recognise(names) -> str | None:
    """Which layout these tensor names are of: "pytorch", "mlx", or None for neither."""
    if "out_norm.alpha" in names or "emb.0.weight" in names:
        return "pytorch"
    return "mlx" if "audio_embs.0.weight" in names else None


def layout_of(model: MultistreamLM, layout: str) -> WeightMap:
    """How the parameters of `model`, quantised or not, lie in a file of this layout."""
    shapes = {name: array.shape for name, array in tree_flatten(model.parameters())}
    groups = []
    if model.config.depth:
        depth = {n.removeprefix(_DEPTH): s for n, s in shapes.items() if n.startswith(_DEPTH)}
        shapes = {n: s for n, s in shapes.items() if not n.startswith(_DEPTH)}
        groups += [
            replace(group, names=[_DEPTH + name for name in group.names])
            for group in depth_layout.layout_of(depth, model.config.depth, layout)
        ]
    for name, shape in shapes.items():
        module, _, leaf = name.rpartition(".")
        if module in _JOINED[layout]:
            parts = model.config.n_q if module == "audio_emb" else model.config.extra_heads
            files = [f"{_JOINED[layout][module].format(i)}.{leaf}" for i in range(parts)]
            groups.append(join(name, files, shape))
        elif module.endswith(".q_proj"):
            keys_values = f"{module.removesuffix('q_proj')}kv_proj.{leaf}"
            file = _in_proj(module.removesuffix("q_proj") + "in_proj", leaf, layout)
            groups.append(split([name, keys_values], file, [shape, shapes[keys_values]]))
        elif not module.endswith(".kv_proj"):
            groups.append(_plain(name, shape, layout))
    return [replace(group, files=_without_tables(group.files)) for group in groups]


def _without_tables(files: Shapes) -> Shapes:
    """In files a table has the name of the embedding that looks it up."""
    return {file.replace(".table.", "."): shape for file, shape in files.items()}


def _plain(name: str, shape: tuple[int, ...], layout: str) -> Group:
    module, _, leaf = name.rpartition(".")
    if layout == "mlx":
        return rename(name, name, shape)
    if module.endswith(("norm1", "norm2", "out_norm")):
        return reshape(name, f"{module}.alpha", shape, (1, 1, *shape))
    if module.endswith(".in_proj"):
        return rename(name, _in_proj(module, leaf, layout), shape)
    return rename(name, name, shape)


def _in_proj(module: str, leaf: str, layout: str) -> str:
    """PyTorch's attention writes `in_proj_weight` where all else writes `in_proj.weight`."""
    return f"{module}.{leaf}" if layout == "mlx" else f"{module}_{leaf}"
