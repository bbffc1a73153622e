"""What PyInstaller is told of this package, through the entry point `pyinstaller40`."""

from __future__ import annotations

import os


def get_hook_dirs() -> list[str]:
    """The folder with the hooks: a file for each package that needs one."""
    return [os.path.dirname(__file__)]
