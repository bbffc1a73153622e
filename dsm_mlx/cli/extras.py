"""Which of the package's extras are installed, as its own metadata lists them."""

from __future__ import annotations

import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, metadata

_OF_DEVELOPERS = ("test", "reference", "train", "evaluate")
_SYSTEM = re.compile(r"\bsys_platform == ['\"](\w+)['\"]")
_REQUIREMENT = re.compile(r"([\w.-]+).*;.*\bextra == ['\"]([\w-]+)['\"]")


def missing_of_extras() -> dict[str, list[str]]:
    """For each extra the packages of it that are not here, by name; an empty list: it is whole.

    An extra whose packages are all for other systems is left out: pip would install nothing.

    PackageNotFoundError where dsm-mlx itself is not installed, but run from a folder.
    """
    missing: dict[str, list[str]] = {}
    for requirement in metadata("dsm-mlx").get_all("Requires-Dist") or []:
        found = _REQUIREMENT.match(requirement)
        system = _SYSTEM.search(requirement)
        if system and system[1] != sys.platform:
            continue
        if found and found[2] not in _OF_DEVELOPERS:
            missing.setdefault(found[2], [])
            if not _is_installed(found[1]):
                missing[found[2]].append(found[1])
    return missing


def _is_installed(package: str) -> bool:
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True
