"""The commands import by name what does their work, so that they answer at once."""

from PyInstaller.utils.hooks import collect_submodules

hiddenimports = collect_submodules("dsm_mlx.cli")
