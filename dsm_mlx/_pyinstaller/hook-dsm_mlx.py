"""What a frozen program needs that its imports do not show: files, and modules by their names.

PyInstaller's own hooks bring PortAudio and libsndfile with sounddevice and soundfile.
"""

from PyInstaller.utils.hooks import (
    collect_data_files,
    collect_dynamic_libs,
    collect_submodules,
    copy_metadata,
)

_FACES = ("cli", "serve", "chat")  # a program that has one imports it, and some need extras
_BUILD = ("_pyinstaller", "__main__")


def _is_library(module: str) -> bool:
    return not {*_FACES, *_BUILD} & set(module.split("."))


# the bundled models, the page of the server; and Metal's kernels, which stand beside libmlx
datas = collect_data_files("dsm_mlx") + collect_data_files("mlx", includes=["**/*.metallib"])
# the version and the extras that `python -m dsm_mlx` tells
datas += copy_metadata("dsm-mlx")
binaries = collect_dynamic_libs("mlx")
# those that `dsm_mlx.__getattr__` imports by name, and what MLX's own C++ imports
hiddenimports = collect_submodules("dsm_mlx", filter=_is_library)
hiddenimports += ["mlx.__array_api_info", "mlx._reprlib_fix"]
