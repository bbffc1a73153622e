"""Conditions: what a session tells the model once, summed into every step or attended to.

Reference: `moshi/conditioners`. Conditioners stay float32. Output projection first, then a
masked position becomes `learnt_padding`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.files.config_reader import ConfigReader
from dsm_mlx.messages import cut, shown

_CONTINUOUS = ("continuous", "continuous_attribute", "ContinuousAttribute")
_KINDS = {"lut": "lut", "Lut": "lut", "tensor": "tensor", "Tensor": "tensor"}
_KINDS |= dict.fromkeys(_CONTINUOUS, "continuous")
_OF_NUMBERS = {"cfg", "delay"}  # the names of their values are looked up by number

WIDEST = 1 << 16  # of anything: far above what such models have, far below what fills a memory
_MOST, _MOST_BINS, _LARGEST = 16, 4096, 1e6


@dataclass(frozen=True)
class ConditionerConfig:
    """One conditioner: "lut" (named values), "tensor" (embeddings) or "continuous" (a number)."""

    kind: str
    dim: int
    n_bins: int = 0
    values: tuple[str, ...] = ()
    scale_factor: float = 1.0
    max_period: float = 10000.0

    @classmethod
    def read(cls, raw: ConfigReader) -> ConditionerConfig:
        """From an entry of `conditioners`: its `type`, and a section of that name.

        Raises:
            CheckpointError: it is of another kind, or beyond all bounds.
        """
        name = raw.choice("type", tuple(_KINDS))
        kind = _KINDS[name]
        inner = raw.section(name, raw.values)
        dim = inner.integer("dim", 1, WIDEST)
        if kind == "lut":
            n_bins = inner.integer("n_bins", 1, _MOST_BINS)
            return cls(kind, dim, n_bins, tuple(inner.strings("possible_values", n_bins, [])))
        if kind == "tensor":
            return cls(kind, dim)
        check_sinusoids(inner, dim)
        return cls(
            kind,
            dim,
            scale_factor=inner.number("scale_factor", -_LARGEST, _LARGEST, 1.0),
            max_period=inner.number("max_period", 1, 1e9, 10000.0),
        )


@dataclass(frozen=True)
class ConditionersConfig:
    """All conditioners by name, and which are summed and which attended to."""

    by_name: dict[str, ConditionerConfig]
    sum: tuple[str, ...]
    cross: tuple[str, ...]
    cross_positions: bool = False
    cross_positions_scale: float = 1.0

    @classmethod
    def read(cls, raw: ConfigReader) -> ConditionersConfig:
        """From `conditioners` and `fuser` of a config; both may be absent, null or empty.

        Raises:
            CheckpointError: what is fused is not there, or not of a kind that can be.
        """
        conditioners, fuser = raw.section("conditioners", {}), raw.section("fuser", {})
        if len(conditioners.values) > _MOST:
            count = len(conditioners.values)
            raise raw.error("conditioners", f"are {count} (expected at most {_MOST})")
        by_name = {name: _read_named(conditioners, name) for name in conditioners.values}
        if prepended := fuser.strings("prepend", _MOST, []):
            names = ", ".join(prepended)
            problem = f"names {names} (expected none: the reference does not prepend, either)"
            raise fuser.error("prepend", problem)
        return cls(
            by_name,
            sum=_read_fused(fuser, "sum", by_name, ("lut", "continuous")),
            cross=_read_fused(fuser, "cross", by_name, ("tensor",)),
            cross_positions=fuser.get("cross_attention_pos_emb", bool, False),
            cross_positions_scale=fuser.number(
                "cross_attention_pos_emb_scale", -_LARGEST, _LARGEST, 1.0
            ),
        )


def _read_named(conditioners: ConfigReader, name: str) -> ConditionerConfig:
    if not re.fullmatch(r"[A-Za-z_]\w{0,63}", name, re.ASCII):  # it is part of the tensors' names
        raise conditioners.error(name, "is not a name (expected letters, digits and _)")
    entry = ConditionerConfig.read(conditioners.section(name))
    if name in _OF_NUMBERS and entry.kind == "lut" and not _are_numbers(entry.values):
        listed = shown(list(entry.values)) if entry.values else "nothing"
        raise conditioners.error(name, f"knows {listed} (expected numbers)")
    return entry


def _read_fused(
    fuser: ConfigReader, key: str, known: dict[str, ConditionerConfig], kinds: tuple[str, ...]
) -> tuple[str, ...]:
    names = fuser.strings(key, _MOST, [])
    for name in names:
        if name not in known:
            raise fuser.error(key, f"names {shown(name)}, which is not a conditioner")
        if known[name].kind not in kinds:
            kind, expected = known[name].kind, " or ".join(kinds)
            raise fuser.error(key, f"names {name!r}, which is of type {kind} (expected {expected})")
    if len(set(names)) != len(names):
        raise fuser.wrong(key, names, "every name once")
    return tuple(names)


def check_sinusoids(raw: ConfigReader, dim: int) -> None:
    """CheckpointError unless `sinusoids` can be as wide: in pairs, and at least two of them."""
    if dim % 2 or dim < 4:
        raise raw.wrong("dim", dim, "an even number from 4 up, for an embedding of positions")


def _are_numbers(values: tuple[str, ...]) -> bool:
    try:
        return bool(values) and all(math.isfinite(float(value)) for value in values)
    except ValueError:
        return False


def sinusoids(positions: mx.array, dim: int, max_period: float = 10000.0) -> mx.array:
    """float32 positions (...) -> (..., dim): cosines, then sines (audiocraft's embedding)."""
    half = dim // 2
    periods = max_period ** (mx.arange(half, dtype=mx.float32) / (half - 1))
    phase = positions.astype(mx.float32)[..., None] / periods
    return mx.concatenate([mx.cos(phase), mx.sin(phase)], axis=-1)


class Conditioner(nn.Module):
    """One conditioner's weights, with the reference's names."""

    def __init__(self, config: ConditionerConfig, dim: int):
        super().__init__()
        self.config = config
        if config.kind == "lut":
            self.embed = nn.Embedding(config.n_bins + 1, config.dim)
        self.output_proj = nn.Linear(config.dim, dim, bias=False)
        self.learnt_padding = mx.zeros((1, 1, dim))

    def lookup(self, value: str | None, name: str) -> mx.array:
        """A named value, or None for the learnt padding -> float32 (1, 1, dim).

        name: of the conditioner, for the ValueError where it does not know the value.
        """
        if value is None:
            return self.learnt_padding
        if value not in self.config.values:
            known = cut(", ".join(self.config.values), 200)
            raise ValueError(f"{name} is {shown(value)} (expected one of {known})")
        return self.output_proj(self.embed(mx.array([[self.config.values.index(value)]])))

    def number(self, value: float | None) -> mx.array:
        """A number, or None for the learnt padding -> float32 (1, 1, dim)."""
        if value is None:
            return self.learnt_padding
        position = mx.array([[value * self.config.scale_factor]], dtype=mx.float32)
        return self.output_proj(sinusoids(position, self.config.dim, self.config.max_period))

    def embeddings(self, values: mx.array, mask: mx.array) -> mx.array:
        """float32 values (batch, length, in), bool mask (batch, length) -> float32 (batch, length,
        dim): where the mask is False stands the learnt padding."""
        return mx.where(mask[..., None], self.output_proj(values), self.learnt_padding)


class ConditionProvider(nn.Module):
    """All conditioners of a model, and how their outputs are fused."""

    def __init__(self, config: ConditionersConfig, dim: int):
        super().__init__()
        self.config, self.dim = config, dim
        self.conditioners = {
            name: Conditioner(entry, dim) for name, entry in config.by_name.items()
        }

    def sum(self, values: dict[str, Any]) -> mx.array | None:
        """What is added to every step's input: float32 (1, 1, dim), or None.

        values: by conditioner name, what it looks up (str) or a number (float); None or a missing
        name means the learnt padding.
        """
        parts = []
        for name in self.config.sum:
            conditioner, value = self.conditioners[name], values.get(name)
            if conditioner.config.kind == "lut":
                parts.append(conditioner.lookup(value, name))
            else:
                parts.append(conditioner.number(value))
        return sum(parts[1:], parts[0]) if parts else None

    def cross(self, values: dict[str, tuple[mx.array, mx.array]]) -> mx.array | None:
        """What is attended to: float32 (batch, length, dim), or None.

        values: by conditioner name, (embeddings (batch, length, in), bool mask (batch, length)).
        """
        parts = [self.conditioners[name].embeddings(*values[name]) for name in self.config.cross]
        if not parts:
            return None
        joined = mx.concatenate(parts, axis=1)
        if not self.config.cross_positions:
            return joined
        positions = sinusoids(mx.arange(joined.shape[1]), self.dim)
        return joined + self.config.cross_positions_scale * positions
