"""Checks of arguments: an error of ours names the argument, its value and what was expected."""

from __future__ import annotations

import math
import numbers
import os
from typing import Any

from dsm_mlx.messages import shown


def is_number(value: Any, kind: type | tuple[type, ...] = numbers.Real) -> bool:
    """Whether it is a number of that kind, or one of those; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """The value as a float. TypeError unless it is a real number, ValueError unless it is from
    `least` to `most`."""
    if not is_number(value):
        raise TypeError(f"{name} is {shown(value)} (expected a number)")
    if not least <= value <= most or not math.isfinite(value):
        raise ValueError(f"{name} is {shown(value)} (expected {_span(least, most)})")
    return float(value)


def check_whole(name: str, value: Any, least: int, most: int | None = None) -> int:
    """The value as an int. TypeError unless it is an integer, ValueError unless it is from `least`
    to `most`."""
    if not is_number(value, numbers.Integral):
        raise TypeError(f"{name} is {shown(value)} (expected an integer)")
    if value < least or (most is not None and value > most):
        raise ValueError(f"{name} is {shown(value)} (expected {_span(least, most)})")
    return int(value)


def check_seed(seed: Any) -> None:
    """None, or an integer from 0 up that fits into 64 bits."""
    if seed is not None:
        check_whole("seed", seed, 0, 2**64 - 1)


def check_text(name: str, value: Any) -> None:
    """TypeError unless `value` is a string."""
    if not isinstance(value, str):
        raise TypeError(f"{name} is {shown(value)} (expected str)")


def check_flag(name: str, value: Any) -> bool:
    """TypeError unless `value` is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} is {shown(value)} (expected True or False)")
    return value


def check_path(name: str, value: Any) -> str:
    """TypeError unless `value` is a path, ValueError unless it can be the name of a file."""
    try:
        path = os.fsdecode(value)
    except (TypeError, UnicodeError):
        raise TypeError(f"{name} is {shown(value)} (expected a path)") from None
    try:
        encoded = os.fsencode(path)
    except UnicodeError:  # half of a character, or one that the file system's encoding has not
        encoded = b""
    if not encoded or b"\0" in encoded:
        raise ValueError(f"{name} is {shown(path)} (expected the name of a file)")
    return path


def for_each(name: str, value: Any, count: int, of_what: str) -> list:
    """One value for all of `count` things, or a list with one for each."""
    if not isinstance(value, (list, tuple)):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{len(value)} {name} for {count} {of_what}")
    return list(value)


def _span(least: float, most: float | None) -> str:
    return f"{least:g} or more" if most is None else f"{least:g} to {most:g}"
