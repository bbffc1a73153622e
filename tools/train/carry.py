"""Put what a machine without a network lacks into one folder, to travel with the checkout.

    python tools/train/carry.py build/carry

copies the synthesizers' shared libraries, what these need, and espeak-ng's English data. There,
point the variables DSM_TRAIN_LIBRARIES and LD_LIBRARY_PATH at the folder. Python packages travel
as wheels (see README.md).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from speech.flite import VOICES

LIBRARIES = (
    "libespeak-ng.so.1",
    "libflite.so.1",
    "libflite_usenglish.so.1",
    "libflite_cmulex.so.1",
    *(f"libflite_cmu_us_{voice}.so.1" for voice in VOICES),
)
_EVERYWHERE = ("ld-linux", "libc.", "libm.", "libpthread.", "libdl.", "librt.", "libstdc++.")
_DATA = ("en_dict", "intonations", "phondata", "phondata-manifest", "phonindex", "phontab")


def system_libraries() -> dict[str, Path]:
    """Where the loader finds each shared library."""
    listed = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=True).stdout
    rows = (line.split(" => ") for line in listed.splitlines() if " => " in line)
    return {name.split()[0]: Path(path) for name, path in rows}


def needed(library: Path) -> list[Path]:
    """The shared libraries that one needs, glibc's own left out."""
    listed = subprocess.run(["ldd", library], capture_output=True, text=True, check=True).stdout
    paths = [line.split(" => ")[1].split()[0] for line in listed.splitlines() if " => " in line]
    return [Path(p) for p in paths if not Path(p).name.startswith(_EVERYWHERE)]


def main(argv: list[str]) -> int:
    if len(argv) != 1:
        print("usage: python tools/train/carry.py FOLDER", file=sys.stderr)
        return 2
    folder, found = Path(argv[0]), system_libraries()
    missing = [name for name in LIBRARIES if name not in found]
    if missing:
        print(f"error: not installed: {', '.join(missing)}", file=sys.stderr)
        return 1
    folder.mkdir(parents=True, exist_ok=True)
    for name in LIBRARIES:
        shutil.copyfile(found[name], folder / name)
        for path in needed(found[name]):
            shutil.copyfile(path, folder / path.name)
    data = found["libespeak-ng.so.1"].parent / "espeak-ng-data"
    (folder / data.name).mkdir(exist_ok=True)
    for name in _DATA:
        shutil.copyfile(data / name, folder / data.name / name)
    for name in ("lang/gmw", "voices"):
        shutil.copytree(data / name, folder / data.name / name, dirs_exist_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
