"""Recipes: how many bits each kind of module gets. A module that no entry names stays as it is.

Bits cost quality where a weight is used by every stream or decides a token at once: embeddings,
output heads, the first and the last block, the small depth decoder, and the attention to a voice.
The big middle, attention and feed-forward, is where the bytes are.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import mlx.nn as nn

MODES = {"affine": None, "mxfp4": (4, 32), "mxfp8": (8, 32), "nvfp4": (4, 16)}
BITS = (2, 3, 4, 6, 8)
GROUP_SIZES = (32, 64, 128)
DEFAULT_GROUP = {2: 32, 3: 64, 4: 32, 6: 64, 8: 64}  # for 4 and 8 as in Kyutai's own files

LM_ROLES = (
    "embeddings",
    "heads",
    "first and last block",
    "attention",
    "feed-forward",
    "cross-attention",
    "depth decoder",
)
CODEC = "codec transformers"

_BLOCK = re.compile(r"transformer\.layers\.(\d+)\.(self_attn|gating|cross_attention)\.")


@dataclass(frozen=True)
class Spec:
    """How one module is quantised, in the words of `mlx.nn.quantize`."""

    bits: int
    group_size: int
    mode: str = "affine"

    def __str__(self) -> str:
        mode = "" if self.mode == "affine" else f"{self.mode}, "
        return f"{mode}{self.bits} bits, groups of {self.group_size}"

    def fitting(self, width: int) -> Spec | None:
        """The same for a weight of this width: in smaller groups if need be, None if in none."""
        sizes = [self.group_size]
        if self.mode == "affine":
            sizes += [size for size in (64, 32) if size < self.group_size]
        for size in sizes:
            if width % size == 0 and width % 32 == 0:  # MLX packs no narrower rows
                return Spec(self.bits, size, self.mode)
        return None


@dataclass(frozen=True)
class Recipe:
    """A name, what it is for, and a Spec by role."""

    name: str
    about: str
    table: dict[str, Spec] = field(default_factory=dict)

    def spec(self, path: str, width: int, layers: int) -> Spec | None:
        """For the module at `path` with weights of `width`, in a model of `layers` blocks."""
        spec = self.meant(path, layers)
        return spec and spec.fitting(width)

    def meant(self, path: str, layers: int) -> Spec | None:
        """The same for a weight of any width."""
        part = role(path, layers)
        return None if part is None else self.table.get(part)

    def quantize(self, model: nn.Module, layers: int) -> None:
        """Quantise the modules of a model as the recipe says; those that are so already stay."""
        nn.quantize(model, class_predicate=predicate(lambda p, w: self.spec(p, w, layers)))


def predicate(spec_of: Callable[[str, int], Spec | None]) -> Callable:
    """For `mlx.nn.quantize`, from a function of a module's path and width."""

    def as_wanted(path: str, module: nn.Module) -> bool | dict:
        if not hasattr(module, "to_quantized"):
            return False
        spec = spec_of(path, module.weight.shape[-1])
        if spec is None:
            return False
        return {"bits": spec.bits, "group_size": spec.group_size, "mode": spec.mode}

    return as_wanted


def role(path: str, layers: int) -> str | None:
    """What part the module at `path` plays; None for what is never quantised."""
    if path.startswith(("encoder_transformer.", "decoder_transformer.")):
        return CODEC
    if path.startswith(("audio_emb", "text_emb", "depformer.embs", "depformer.text_emb")):
        return "embeddings"
    if path.startswith(("text_linear", "extra_heads", "depformer.linear_out")):
        return "heads"
    if path.startswith("depformer."):
        return "depth decoder"
    match = _BLOCK.match(path)
    if not match:
        return None  # conditioners, which are computed in float32, and the codec's convolutions
    if match[2] == "cross_attention":
        return "cross-attention"
    if int(match[1]) in (0, layers - 1):
        return "first and last block"
    return "attention" if match[2] == "self_attn" else "feed-forward"


def blanket(bits: int, group_size: int | None = None, mode: str = "affine") -> Recipe:
    """The whole language model alike, as `mlx_lm.convert -q` does it."""
    spec = Spec(bits, group_size or DEFAULT_GROUP[bits], mode)
    if mode != "affine":
        return Recipe(mode, f"{mode} everywhere", dict.fromkeys(LM_ROLES, spec))
    name = f"q{bits}"
    if spec.group_size != DEFAULT_GROUP[bits]:
        name += f"-g{spec.group_size}"
    return Recipe(name, f"{bits} bits everywhere", dict.fromkeys(LM_ROLES, spec))


def _mixed(name: str, about: str, middle: int, rest: int, codec: int | None = None) -> Recipe:
    """`middle` bits for attention and feed-forward, `rest` for all else."""
    inner, outer = (Spec(bits, DEFAULT_GROUP[bits]) for bits in (middle, rest))
    table = {role: inner if role in ("attention", "feed-forward") else outer for role in LM_ROLES}
    if codec:
        table[CODEC] = Spec(codec, DEFAULT_GROUP[codec])
    return Recipe(name, about, table)


RECIPES = {
    recipe.name: recipe
    for recipe in (
        blanket(8),
        blanket(4),
        _mixed("mixed-6", "6 bits in the middle, 8 elsewhere", 6, 8),
        _mixed("mixed-4", "4 bits in the middle, 8 elsewhere", 4, 8),
        _mixed("mixed-3", "3 bits in the middle, 6 elsewhere", 3, 6),
        _mixed("small-4", "mixed-4, and 8 bits in the codec's transformers", 4, 8, codec=8),
    )
}
