"""A microphone and a loudspeaker without hardware: PulseAudio with a sink that nobody hears.

Tests that need it are skipped where it cannot be started, unless DSM_MLX_REQUIRE_MICROPHONE=1.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from dsm_mlx.audio import list_devices
from dsm_mlx.audio.devices import refresh_devices
from dsm_mlx.errors import AudioError

SCRIPT = Path(__file__).parents[1] / "tools" / "virtual_microphone.sh"
MARK = "DSM_MLX_VIRTUAL_MICROPHONE"


def running():
    """The virtual microphone that already runs, or one of our own, while the generator is open."""
    saved = dict(os.environ)
    if MARK not in os.environ:
        run = subprocess.run([SCRIPT, "start"], capture_output=True, text=True)
        if run.returncode:
            missing(run.stderr.strip())
        os.environ.update(re.findall(r"export (\w+)='(.*)'", run.stdout))
    try:
        refresh_devices()  # PortAudio may have looked before the variables were set
        found = list_devices()
    except AudioError as error:
        missing(str(error))
    if not found:
        missing("PortAudio sees no device: is libasound2-plugins installed?")
    yield
    if MARK not in saved:
        subprocess.run([SCRIPT, "stop"], check=True)
        for name in set(os.environ) - set(saved):
            del os.environ[name]


def missing(reason):
    if os.environ.get("DSM_MLX_REQUIRE_MICROPHONE") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
