"""Reading JSON settings: every missing key or wrong type is one CheckpointError that names it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from dsm_mlx.errors import CheckpointError

_MISSING = object()
_MOST, _MOST_PARTS = 10**6, 1000
_KINDS = {int: "an integer", float: "a number", str: "a string", bool: "true or false"}
_KINDS |= {dict: "an object", list: "a list"}


class ConfigReader:
    """A JSON object that knows where it came from.

    source: what an error message calls it, such as "config.json".
    """

    def __init__(self, values: dict, source: str):
        self.values, self.source = values, source

    @classmethod
    def read(cls, path: Path) -> ConfigReader:
        """Read a JSON file that holds one object."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{path}: no such file") from None
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: not a readable JSON file ({error})") from None
        if not isinstance(values, dict):
            raise CheckpointError(f"{path}: expected a JSON object")
        return cls(values, str(path))

    def get(self, key: str, kind: type, default: Any = _MISSING) -> Any:
        """The value of `key` as `kind`; null counts as absent. Without a default it is required."""
        value = self.values.get(key)
        if value is None:
            if default is _MISSING:
                raise self.error(key, f"is missing (expected {_KINDS[kind]})")
            return default
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(key, f"is {value!r} (expected {_KINDS[kind]})")
        if kind is float and not math.isfinite(value):
            raise self.error(key, f"is {value} (expected a finite number)")
        return value

    def positive(self, key: str, default: Any = _MISSING, kind: type = int) -> Any:
        """An integer, or another `kind` of number, above 0 and an integer not beyond reason."""
        value = self.get(key, kind, default)
        if value is not None and value <= 0:
            raise self.error(key, f"is {value} (expected {_KINDS[kind]} above 0)")
        if kind is int and value is not None and value > _MOST:
            raise self.error(key, f"is {value} (expected an integer of at most {_MOST})")
        return value

    def count(self, key: str, default: Any = _MISSING) -> int:
        """An integer from 0 up."""
        value = self.get(key, int, default)
        if value < 0:
            raise self.error(key, f"is {value} (expected an integer from 0 up)")
        return value

    def parts(self, key: str, default: Any = _MISSING, least: int = 1) -> int:
        """How many layers or the like there are: as many as no file has would fill the memory."""
        value = self.get(key, int, default)
        if not least <= value <= _MOST_PARTS:
            raise self.error(key, f"is {value} (expected an integer from {least} to {_MOST_PARTS})")
        return value

    def divisor(self, key: str, whole: int, default: Any = _MISSING) -> int:
        """A positive integer that divides `whole`."""
        value = self.positive(key, default)
        if whole % value:
            raise self.error(key, f"is {value} (expected a divisor of {whole})")
        return value

    def choice(self, key: str, allowed: tuple, default: Any = _MISSING) -> Any:
        """A string that must be one of `allowed`."""
        value = self.get(key, str, default)
        if value not in allowed:
            raise self.error(key, f"is {value!r} (expected one of {', '.join(map(str, allowed))})")
        return value

    def items(self, key: str, kind: type, default: Any = _MISSING) -> list:
        """A list whose entries all are of `kind`."""
        values = self.get(key, list, default)
        for value in values or []:
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise self.error(key, f"holds {value!r} (expected {_KINDS[kind]})")
        return values

    def section(self, key: str, default: Any = _MISSING) -> ConfigReader:
        """An object inside this one."""
        return ConfigReader(self.get(key, dict, default), f"{self.source}: {key}")

    def error(self, key: str, problem: str) -> CheckpointError:
        return CheckpointError(f"{self.source}: '{key}' {problem}")
