"""Reading JSON settings: a missing key, a wrong type or a value out of bounds is one
CheckpointError that names it.

A number is asked for with its bounds, so that nothing is ever made of one that is absurd.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dsm_mlx.errors import CheckpointError
from dsm_mlx.messages import cut, named, shown

_MISSING = object()
_MOST_BYTES = 1 << 20
LARGE = 64 << 20
"""As many bytes as a file with a list of tensors or of a vocabulary may have."""
_KINDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
_KINDS |= {dict: "an object", list: "a list"}


class ConfigReader:
    """A JSON object that knows where it came from.

    source: what an error message calls it, such as "config.json".
    """

    def __init__(self, values: dict, source: str):
        self.values, self.source = values, source

    @classmethod
    def read(cls, path: Path, most: int = _MOST_BYTES) -> ConfigReader:
        """Read a JSON file that holds one object, of at most so many bytes."""
        source = named(path)
        try:
            with path.open("rb") as file:
                raw = file.read(most + 1)
        except FileNotFoundError:
            raise CheckpointError(f"{source}: no such file") from None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{source}: cannot be read ({cut(str(error), 80)})") from None
        if len(raw) > most:
            raise CheckpointError(f"{source}: larger than a config can be ({most} bytes)")
        try:
            values = json.loads(raw.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{source}: not a readable JSON file ({cut(str(error), 80)})"
            ) from None
        if not isinstance(values, dict):
            raise CheckpointError(f"{source}: expected a JSON object")
        return cls(values, source)

    def get(self, key: str, kind: type, default: Any = _MISSING) -> Any:
        """The value of `key` as `kind`; null counts as absent. Without a default it is required."""
        value = self.values.get(key)
        if value is None:
            if default is _MISSING:
                raise self.error(key, f"is missing (expected {_KINDS[kind]})")
            return default
        wanted: Any = (int, float) if kind is float else kind
        if not isinstance(value, wanted) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, value, _KINDS[kind])
        if kind is not float:
            return value
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise self.wrong(key, value, "a finite number")
        return value

    def integer(self, key: str, low: int, high: int, default: Any = _MISSING) -> Any:
        """An integer from `low` to `high`; the default is taken as it is."""
        return self._within(key, int, low, high, default)

    def number(self, key: str, low: float, high: float, default: Any = _MISSING) -> Any:
        """A float from `low` to `high`; the default is taken as it is."""
        return self._within(key, float, low, high, default)

    def _within(self, key: str, kind: type, low: float, high: float, default: Any) -> Any:
        value = self.get(key, kind, default)
        if self.values.get(key) is not None and not low <= value <= high:
            only = f"{low}" if low == high else f"{_KINDS[kind]} from {low} to {high}"
            raise self.wrong(key, value, only)
        return value

    def divisor(self, key: str, whole: int, default: Any = _MISSING, *, even: bool = False) -> int:
        """An integer above 0 that divides `whole`. even: what it leaves must be even."""
        value = self.integer(key, 1, whole, default)
        if whole % value or (even and whole // value % 2):
            left = " that leaves an even number" if even else ""
            raise self.wrong(key, value, f"a divisor of {whole}{left}")
        return value

    def choice(self, key: str, allowed: tuple, default: Any = _MISSING) -> Any:
        """A string that must be one of `allowed`."""
        value = self.get(key, str, default)
        if value not in allowed:
            raise self.wrong(key, value, f"one of {', '.join(map(str, allowed))}")
        return value

    def integers(self, key: str, low: int, high: int, most: int, default: Any = _MISSING) -> Any:
        """A list of at most `most` integers from `low` to `high`."""
        values = self._items(key, most, default)
        for value in values or ():
            if type(value) is not int or not low <= value <= high:
                problem = f"holds {shown(value)} (expected integers from {low} to {high})"
                raise self.error(key, problem)
        return values

    def strings(self, key: str, most: int, default: Any = _MISSING) -> Any:
        """A list of at most `most` strings, none of them longer than a line."""
        values = self._items(key, most, default)
        for value in values or ():
            if not isinstance(value, str) or len(value) > 80:
                raise self.error(key, f"holds {shown(value)} (expected short strings)")
        return values

    def _items(self, key: str, most: int, default: Any) -> Any:
        values = self.get(key, list, default)
        if values and len(values) > most:
            raise self.error(key, f"holds {len(values)} values (expected at most {most})")
        return values

    def section(self, key: str, default: Any = _MISSING) -> ConfigReader:
        """An object inside this one."""
        return ConfigReader(self.get(key, dict, default), f"{self.source}: {cut(key, 40)}")

    def wrong(self, key: str, value: Any, expected: str) -> CheckpointError:
        """The error for a value that is not what was `expected`."""
        return self.error(key, f"is {shown(value)} (expected {expected})")

    def error(self, key: str, problem: str) -> CheckpointError:
        """The error for a key of which there is another `problem`: it goes on after the name."""
        return CheckpointError(f"{self.source}: '{cut(key, 40)}' {problem}")
