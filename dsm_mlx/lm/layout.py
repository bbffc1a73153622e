"""The language model's parameters and the tensors of the published files, in all layouts.

Parameters are named as in the MLX layout, except where one array serves a step better than many:
`audio_emb` and `extra_heads` join the tables of all codebooks and heads, and cross-attention
keeps its queries apart from its keys and values.
"""

from __future__ import annotations

from dataclasses import replace

import mlx.core as mx

from dsm_mlx.files.tensors import flat
from dsm_mlx.files.weight_map import Group, Shapes, WeightMap, join, rename, reshape, split, turned
from dsm_mlx.lm import depth_layout
from dsm_mlx.lm.model import MultistreamLM

_DEPTH = "depformer."
# Of the Transformers layout: one table of all embeddings, and after them a row of zeros.
_TABLE = "model.embed_tokens.embed_tokens.weight"
_TRANSFORMERS = {
    "self_attn.out_proj": "self_attn.o_proj.linear",
    "gating.linear_in": "mlp.fc1",
    "gating.linear_out": "mlp.fc2",
    "norm1": "input_layernorm",
    "norm2": "post_attention_layernorm",
}

# File names of what the parameters join, by layout.
_JOINED = {
    "mlx": {"audio_emb": "audio_embs.{}", "extra_heads": "extra_heads.{}"},
    "pytorch": {"audio_emb": "emb.{}", "extra_heads": "extra_heads.{}"},
}


def recognise(names) -> str | None:
    """Which layout these tensor names are of: "pytorch", "mlx", "transformers", or None."""
    if _TABLE in names:
        return "transformers"
    if "out_norm.alpha" in names or "emb.0.weight" in names:
        return "pytorch"
    return "mlx" if "audio_embs.0.weight" in names else None


def layout_of(model: MultistreamLM, layout: str) -> WeightMap:
    """How the parameters of `model`, quantised or not, lie in a file of this layout."""
    shapes = {name: array.shape for name, array in flat(model.parameters())}
    if layout == "transformers":
        return _transformers(model, shapes)
    groups: list[Group] = []
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


def _transformers(model: MultistreamLM, shapes: Shapes) -> WeightMap:
    """Of a model that hears; there are no heads for pauses in this layout."""
    groups = [_table(shapes["text_emb.weight"], shapes["audio_emb.weight"], model.config.n_q)]
    config = model.config.transformer
    for name, shape in shapes.items():
        module, _, leaf = name.rpartition(".")
        start, _, part = module.partition("self_attn.")
        if module.endswith("_emb"):
            continue
        if module == "text_linear":
            groups.append(_head(name, shape))
        elif part == "in_proj":
            start = start.removeprefix("transformer.")
            files = [f"model.{start}self_attn.{each}_proj.linear.{leaf}" for each in "qkv"]
            kv_heads = config.heads // config.kv_repeat
            groups.append(turned(name, files, config.heads, kv_heads, shape))
        else:
            groups.append(rename(name, f"model.{_transformers_name(module)}.{leaf}", shape))
    return groups


def _transformers_name(module: str) -> str:
    """ "transformer.layers.0.gating.linear_in" -> "layers.0.mlp.fc1"."""
    if module == "out_norm":
        return "norm"
    for ours, theirs in _TRANSFORMERS.items():
        module = module.replace(ours, theirs)
    return module.removeprefix("transformer.")


def _table(text: tuple[int, ...], audio: tuple[int, ...], codebooks: int) -> Group:
    """The embeddings of the text and of each codebook, one below another."""
    start, dim = text
    end, rows = start + audio[0], audio[0] // codebooks
    files: Shapes = {_TABLE: (end + 1, dim)}

    def save(*parts: mx.array) -> list[mx.array]:
        return [mx.concatenate([*parts, mx.zeros((1, dim), parts[0].dtype)])]

    def divided(table: mx.array) -> list[mx.array]:
        return [*mx.split(table[:end], range(start, end, rows))]

    names = ["text_emb.weight", *(f"audio_emb.weight#{k}" for k in range(codebooks))]
    return Group(
        ["text_emb.weight", "audio_emb.weight"],
        files,
        load=lambda table: [table[:start], table[start:end]],
        save=save,
        divided=Group(names, files, divided, save) if codebooks > 1 else None,
    )


def _head(name: str, shape: tuple[int, ...]) -> Group:
    """It has a row of zeros for the initial token, which is never said."""
    rows, dim = shape
    return Group(
        [name],
        {"lm_head.weight": (rows + 1, dim)},
        load=lambda head: [head[:-1]],
        save=lambda head: [mx.concatenate([head, mx.zeros((1, dim), head.dtype)])],
    )
