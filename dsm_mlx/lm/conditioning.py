"""Conditions: what a session tells the model once, summed into every step or attended to.

Reference: `moshi/conditioners`. Conditioners stay float32. Output projection first, then a
masked position becomes `learnt_padding`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import mlx.core as mx
import mlx.nn as nn

from dsm_mlx.files.config_reader import ConfigReader

_CONTINUOUS = ("continuous", "continuous_attribute", "ContinuousAttribute")
_KINDS = {"lut": "lut", "Lut": "lut", "tensor": "tensor", "Tensor": "tensor"}
_KINDS |= dict.fromkeys(_CONTINUOUS, "continuous")
_OF_NUMBERS = {"cfg", "delay"}  # the names of their values are looked up by number


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
        name = raw.choice("type", tuple(_KINDS))
        kind = _KINDS[name]
        inner = raw.section(name, raw.values)
        if kind == "lut":
            values = tuple(inner.items("possible_values", str, []))
            n_bins = inner.positive("n_bins")
            if len(values) > n_bins:
                raise inner.error("possible_values", f"has more than n_bins, {n_bins}, values")
            return cls(kind, inner.positive("dim"), n_bins, values)
        if kind == "tensor":
            return cls(kind, inner.positive("dim"))
        return cls(
            kind,
            inner.positive("dim"),
            scale_factor=inner.get("scale_factor", float, 1.0),
            max_period=inner.get("max_period", float, 10000.0),
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
        """From `conditioners` and `fuser` of a config; both may be absent, null or empty."""
        conditioners, fuser = raw.section("conditioners", {}), raw.section("fuser", {})
        by_name = {
            name: ConditionerConfig.read(conditioners.section(name)) for name in conditioners.values
        }
        if fuser.items("prepend", str, []):
            raise fuser.error("prepend", "is not supported (expected an empty list)")
        config = cls(
            by_name,
            sum=tuple(fuser.items("sum", str, [])),
            cross=tuple(fuser.items("cross", str, [])),
            cross_positions=fuser.get("cross_attention_pos_emb", bool, False),
            cross_positions_scale=fuser.get("cross_attention_pos_emb_scale", float, 1.0),
        )
        for key in ("sum", "cross"):
            for name in getattr(config, key):
                if name not in by_name:
                    raise fuser.error(key, f"names {name!r}, which is not a conditioner")
        for name in _OF_NUMBERS & by_name.keys():
            entry = by_name[name]
            if entry.kind == "lut" and not _are_numbers(entry.values):
                listed = ", ".join(map(repr, entry.values)) or "nothing"
                raise conditioners.error(name, f"knows {listed} (expected numbers)")
        return config


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
        """A named value, or None for the learnt padding -> (1, 1, dim)."""
        if value is None:
            return self.learnt_padding
        if value not in self.config.values:
            raise ValueError(f"{name}: {value!r} is not one of {', '.join(self.config.values)}")
        return self.output_proj(self.embed(mx.array([[self.config.values.index(value)]])))

    def number(self, value: float | None) -> mx.array:
        """A number, or None for the learnt padding -> (1, 1, dim)."""
        if value is None:
            return self.learnt_padding
        position = mx.array([[value * self.config.scale_factor]], dtype=mx.float32)
        return self.output_proj(sinusoids(position, self.config.dim, self.config.max_period))

    def embeddings(self, values: mx.array, mask: mx.array) -> mx.array:
        """values (batch, length, in), bool mask (batch, length) -> (batch, length, dim)."""
        return mx.where(mask[..., None], self.output_proj(values), self.learnt_padding)


class ConditionProvider(nn.Module):
    """All conditioners of a model, and how their outputs are fused."""

    def __init__(self, config: ConditionersConfig, dim: int):
        super().__init__()
        self.config, self.dim = config, dim
        self.conditioners = {
            name: Conditioner(entry, dim) for name, entry in config.by_name.items()
        }

    def sum(self, values: dict[str, str | float | None]) -> mx.array | None:
        """What is added to every step's input: float32 (1, 1, dim), or None.

        values: by conditioner name; a missing name means the learnt padding.
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
